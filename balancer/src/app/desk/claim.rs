//! Which pools have an operation under way: one at a time each.

use std::sync::{Arc, Mutex, PoisonError};

use crate::pool::operation::Verb;

/// What is under way, by pool.
#[derive(Debug)]
pub(super) struct Claims(Mutex<Vec<Option<Verb>>>);

/// Some pools, until this is dropped.
#[derive(Debug)]
pub(super) struct Claim {
    claims: Arc<Claims>,
    pools: Vec<usize>,
}

impl Claims {
    /// No operation on any of `pools` pools.
    pub(super) fn new(pools: usize) -> Self {
        Self(Mutex::new(vec![None; pools]))
    }

    /// All of these pools, or none.
    ///
    /// # Errors
    ///
    /// The first that has an operation under way, and which.
    pub(super) fn take(self: &Arc<Self>, pools: &[usize], verb: Verb) -> Result<Claim, (usize, Verb)> {
        let mut under_way = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let busy = pools.iter().find_map(|&pool| Some((pool, (*under_way.get(pool)?)?)));
        if let Some(busy) = busy {
            return Err(busy);
        }
        for &pool in pools {
            under_way[pool] = Some(verb);
        }
        Ok(Claim { claims: Arc::clone(self), pools: pools.to_vec() })
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let mut under_way = self.claims.0.lock().unwrap_or_else(PoisonError::into_inner);
        for &pool in &self.pools {
            under_way[pool] = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pool_is_claimed_once_and_free_afterwards() {
        let claims = Arc::new(Claims::new(3));
        let one = claims.take(&[1], Verb::Scale).unwrap();
        assert_eq!(claims.take(&[1], Verb::Stop).unwrap_err(), (1, Verb::Scale));
        // All or none: the others are not claimed by what was refused.
        assert_eq!(claims.take(&[0, 1, 2], Verb::Reload).unwrap_err(), (1, Verb::Scale));
        let others = claims.take(&[0, 2], Verb::Reload).unwrap();
        drop((one, others));
        assert!(claims.take(&[0, 1, 2], Verb::Reload).is_ok());
    }
}
