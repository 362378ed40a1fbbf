//! Samples a worker that has no queue of its own: by the counters of its channel, or by the sockets that its processes
//! hold.

use super::connected;
use super::sockets::SocketProgress;
use crate::os::accept_queue::ServerSide;
use crate::rotation::{Endpoint, Upstream};
use crate::supervisor::slot::hang::ProgressSample;

/// The looks at the counters of a channel.
#[derive(Default)]
pub(super) struct ChannelProgress {
    /// The connections that the process has taken and ended, at the last look.
    done: u64,
}

impl ChannelProgress {
    /// Samples the counters.
    pub(super) fn look(&mut self, upstream: &Upstream) -> ProgressSample {
        let ended: u64 = upstream.closes.iter().map(|counter| counter.get()).sum();
        let done = upstream.stats.connections.get() + ended;
        let has_moved = std::mem::replace(&mut self.done, done) != done;
        ProgressSample { waiting: untaken(upstream), in_service: Some(connected(upstream)), has_moved }
    }
}

/// The looks at the client sockets that a process group holds, which the master does not hold itself.
#[derive(Default)]
pub(super) struct HeldProgress {
    /// The connections that the process has taken, at the last look.
    done: u64,
    sockets: SocketProgress,
    /// The number of client sockets that the process group holds, and true if bytes moved on them: a look that is not
    /// counted yet.
    uncounted: Option<(usize, bool)>,
    count: Option<usize>,
}

impl HeldProgress {
    /// Takes the sockets that the group holds on the public addresses.
    pub(super) fn see(&mut self, sides: &[ServerSide]) {
        let has_moved = self.sockets.see(sides.iter());
        self.uncounted = Some((sides.len(), has_moved));
    }

    /// Samples the counters, with the sockets that were seen since the last look. Clients that the worker was handed and
    /// has not taken count as waiting.
    pub(super) fn look(&mut self, upstream: &Upstream) -> ProgressSample {
        let waiting = match upstream.endpoint {
            Endpoint::Channel => untaken(upstream),
            _ => 0,
        };
        let done = upstream.stats.connections.get();
        let has_taken = std::mem::replace(&mut self.done, done) != done;
        let (in_service, has_moved) = self.uncounted.take().map_or((self.count, false), |(count, moved)| {
            self.count = Some(count);
            (Some(count), moved)
        });
        ProgressSample { waiting, in_service, has_moved: has_taken || has_moved }
    }

    /// Forgets the number of sockets: they are looked up only while the worker is mute.
    pub(super) fn forget_count(&mut self) {
        self.count = None;
    }
}

/// Returns the number of clients that the worker was handed and has not taken. A connection that was taken back counts
/// too: it shows that the worker does not read.
fn untaken(upstream: &Upstream) -> usize {
    upstream.connecting() + usize::from(upstream.is_stalled())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::supervisor::worker::context::test_upstream;

    #[test]
    fn held_sockets_count_until_they_are_forgotten() {
        let (mut held, upstream) = (HeldProgress::default(), test_upstream());
        let side = ServerSide { inode: Some(7), peer: None, bytes: Some(1), unread: 0 };
        assert_eq!(held.look(&upstream).in_service, None, "never looked up");
        held.see(&[side]);
        assert_eq!(held.look(&upstream).in_service, Some(1));
        assert_eq!(held.look(&upstream).in_service, Some(1), "as last seen");
        held.see(&[ServerSide { bytes: Some(2), ..side }]);
        assert!(held.look(&upstream).has_moved);
        assert!(!held.look(&upstream).has_moved, "counted once");
        held.forget_count();
        assert_eq!(held.look(&upstream).in_service, None);
    }
}
