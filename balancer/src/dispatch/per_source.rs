//! The open connections of each source address, counted only where a pool bounds them.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The open connections of a pool by source address, over all data threads.
#[derive(Debug, Default)]
pub(super) struct SourceCounts(Mutex<HashMap<IpAddr, usize>>);

/// One connection of a source, counted until it is dropped.
#[derive(Debug)]
pub(super) struct SourcePermit {
    counts: Arc<SourceCounts>,
    source: IpAddr,
}

impl SourceCounts {
    /// Counts one more connection of `client`. Returns `None` if its source has `most` already.
    pub(super) fn take(self: &Arc<Self>, client: IpAddr, most: usize) -> Option<SourcePermit> {
        let source = source_of(client);
        let mut counts = self.counts();
        let count = counts.entry(source).or_default();
        if *count >= most {
            return None;
        }
        *count += 1;
        drop(counts);
        Some(SourcePermit { counts: Arc::clone(self), source })
    }

    fn counts(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for SourcePermit {
    fn drop(&mut self) {
        let mut counts = self.counts.counts();
        if let Some(count) = counts.get_mut(&self.source) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.source);
            }
        }
    }
}

/// Returns the address that counts as the source: an IPv4 address, or the /64 of an IPv6 one, since one host has all of
/// it.
fn source_of(client: IpAddr) -> IpAddr {
    match client.to_canonical() {
        IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() & !u128::from(u64::MAX)).into(),
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn source_has_so_many_and_no_more_until_one_ends() {
        let counts = Arc::<SourceCounts>::default();
        let held = [(); 2].map(|()| counts.take(ip("192.0.2.1"), 2).unwrap());
        assert!(counts.take(ip("192.0.2.1"), 2).is_none() && counts.take(ip("::ffff:192.0.2.1"), 2).is_none());
        assert!(counts.take(ip("192.0.2.2"), 2).is_some());
        drop(held);
        assert!(counts.take(ip("192.0.2.1"), 2).is_some());
        assert!(counts.counts().is_empty(), "nothing is kept of those that left");
    }

    #[test]
    fn addresses_of_one_64_are_one_source() {
        let counts = Arc::<SourceCounts>::default();
        let _held = counts.take(ip("2001:db8::1"), 1).unwrap();
        assert!(counts.take(ip("2001:db8::ffff:2"), 1).is_none());
        assert!(counts.take(ip("2001:db8:0:1::1"), 1).is_some());
    }
}
