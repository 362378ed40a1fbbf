//! Detects reasons to replace the present process: its memory, its age, a missing socket path.

use tokio::time::Instant;

use super::WorkerSlot;
use crate::rotation::Endpoint;
use crate::stats::Restart as Cause;

impl WorkerSlot {
    /// The limit on the present process's memory, in bytes.
    pub(in crate::supervisor) fn memory_bound(&self) -> Option<u64> {
        self.present()?.config.max_memory
    }

    /// Returns true if the present process has reached its maximum age.
    pub(in crate::supervisor) fn is_too_old(&self, now: Instant) -> bool {
        self.present().and_then(|process| process.replace_at).is_some_and(|at| at <= now)
    }

    /// Returns true if the path of the present process's unix endpoint was missing at this look and at the one before:
    /// a program that binds it anew removes it for a moment. One call of `lstat`.
    pub(in crate::supervisor) fn has_lost_endpoint(&mut self) -> bool {
        let Some(process) = self.present_mut().filter(|process| process.was_ready) else { return false };
        let (Endpoint::Unix(path) | Endpoint::UnixOf(path, _)) = &process.upstream.endpoint else { return false };
        let found = std::fs::symlink_metadata(path);
        let is_gone = found.is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound);
        std::mem::replace(&mut process.is_endpoint_gone, is_gone) && is_gone
    }

    /// Returns true if the present process may be replaced at `now`; if so, it may not again before `next`.
    pub(in crate::supervisor) fn may_be_replaced(&mut self, next: Instant, now: Instant) -> bool {
        let Some(process) = self.present_mut() else { return false };
        let may = process.not_before.is_none_or(|at| at <= now);
        if may {
            process.not_before = Some(next);
        }
        // It is due again only if this replacement fails.
        process.replace_at = process.replace_at.map(|at| at.max(next));
        may
    }

    /// Returns true if that process is being killed because it is hung.
    pub(in crate::supervisor) fn is_hung(&self, incarnation: u64) -> bool {
        self.slot.process(incarnation).is_some_and(|process_state| process_state.fault == Some(Cause::Hung))
    }
}
