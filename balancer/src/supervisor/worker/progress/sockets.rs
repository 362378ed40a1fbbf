//! Detects progress on a worker's connections between two looks. Pure.

use std::collections::HashMap;

use crate::os::accept_queue::ServerSide;

/// The connections that a worker had taken at the last look, by inode, each with a number that grows when the worker
/// reads or writes.
#[derive(Debug, Default)]
pub(in crate::supervisor) struct SocketProgress {
    last: Option<HashMap<u64, u64>>,
}

impl SocketProgress {
    /// Takes a look at the worker's connections. Returns true if the worker has taken one since the last look, or has
    /// read or written on one. The first look has nothing to compare with. A connection that is gone proves nothing:
    /// its client may have closed it.
    pub(in crate::supervisor) fn see<'a>(&mut self, sides: impl Iterator<Item = &'a ServerSide>) -> bool {
        let now: HashMap<u64, u64> = sides.filter_map(|side| Some((side.inode?, worked(side)))).collect();
        let has_moved = self
            .last
            .as_ref()
            .is_some_and(|last| now.iter().any(|(inode, worked)| last.get(inode).is_none_or(|before| worked > before)));
        self.last = Some(now);
        has_moved
    }

    /// Forgets the last look.
    pub(in crate::supervisor) fn forget(&mut self) {
        self.last = None;
    }
}

/// Returns a number that grows with the worker's progress on a connection. Unix sockets have no byte counters, but
/// their unread bytes become fewer only when the worker reads.
fn worked(side: &ServerSide) -> u64 {
    side.bytes.unwrap_or_else(|| u64::from(u32::MAX - side.unread))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn side(inode: u64, bytes: Option<u64>, unread: u32) -> ServerSide {
        ServerSide { inode: (inode != 0).then_some(inode), peer: None, bytes, unread }
    }

    fn looks(looks: &[&[ServerSide]]) -> Vec<bool> {
        let mut seen = SocketProgress::default();
        looks.iter().map(|look| seen.see(look.iter())).collect()
    }

    #[test]
    fn taken_connection_and_bytes_are_progress() {
        let of = |inode, bytes| side(inode, Some(bytes), 0);
        assert_eq!(looks(&[&[of(1, 5)], &[of(1, 5)], &[of(1, 6)]]), [false, false, true]);
        assert_eq!(looks(&[&[], &[of(1, 0)], &[of(1, 0), of(2, 0)]]), [false, true, true]);
    }

    #[test]
    fn untaken_and_closed_connections_are_no_progress() {
        let of = |inode, bytes| side(inode, Some(bytes), 0);
        assert_eq!(looks(&[&[of(1, 5), of(2, 9)], &[of(2, 9)], &[]]), [false; 3], "its clients may have closed them");
        assert_eq!(looks(&[&[of(0, 5)], &[of(0, 9), of(0, 1)]]), [false; 2], "not taken");
    }

    #[test]
    fn unix_worker_that_reads_leaves_less_unread() {
        let of = |unread| side(1, None, unread);
        assert_eq!(looks(&[&[of(0)], &[of(500)], &[of(500)], &[of(100)]]), [false, false, false, true]);
    }
}
