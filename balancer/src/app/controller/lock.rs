//! The locks of the pools: a pool has at most one operation under way.

use std::sync::{Arc, Mutex, PoisonError};

use crate::pool::operation::OperationKind;

/// The operation under way in each pool.
#[derive(Debug)]
pub(super) struct OperationLocks(Mutex<Vec<Option<OperationKind>>>);

/// A lock on some pools, held until this is dropped.
#[derive(Debug)]
pub(super) struct OperationLock {
    locks: Arc<OperationLocks>,
    pools: Vec<usize>,
}

impl OperationLocks {
    /// Returns the locks of that many pools, all free.
    pub(super) fn new(pools: usize) -> Self {
        Self(Mutex::new(vec![None; pools]))
    }

    /// Locks all of these pools, or none.
    ///
    /// # Errors
    ///
    /// The first of them that has an operation under way, and that operation.
    pub(super) fn take(
        self: &Arc<Self>,
        pools: &[usize],
        verb: OperationKind,
    ) -> Result<OperationLock, (usize, OperationKind)> {
        let mut under_way = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let busy = pools.iter().find_map(|&pool| Some((pool, (*under_way.get(pool)?)?)));
        if let Some(busy) = busy {
            return Err(busy);
        }
        for &pool in pools {
            under_way[pool] = Some(verb);
        }
        Ok(OperationLock { locks: Arc::clone(self), pools: pools.to_vec() })
    }
}

impl Drop for OperationLock {
    fn drop(&mut self) {
        let mut under_way = self.locks.0.lock().unwrap_or_else(PoisonError::into_inner);
        for &pool in &self.pools {
            under_way[pool] = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pool_is_locked_once_and_free_afterwards() {
        let locks = Arc::new(OperationLocks::new(3));
        let one = locks.take(&[1], OperationKind::Scale).unwrap();
        assert_eq!(locks.take(&[1], OperationKind::Stop).unwrap_err(), (1, OperationKind::Scale));
        // All or none: the refused attempt has not locked the free pools.
        assert_eq!(locks.take(&[0, 1, 2], OperationKind::Reload).unwrap_err(), (1, OperationKind::Scale));
        let others = locks.take(&[0, 2], OperationKind::Reload).unwrap();
        drop((one, others));
        assert!(locks.take(&[0, 1, 2], OperationKind::Reload).is_ok());
    }
}
