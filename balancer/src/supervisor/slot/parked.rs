//! Parks a process that was replaced a moment ago: it is out of rotation, gets no signal, and is put back if its
//! successor fails.
//!
//! A program may be ready and broken all the same: a preforking server listens, answers a first check and then loses
//! its processes; a release exits at the first real request. Until the new process has served for `settle` and leaves
//! no client waiting, the old one is kept in a state from which it can serve again.

use std::time::Duration;

use tokio::time::Instant;

use super::health::Sign;
use super::process::ProcessState;
use crate::stats::Restart as Cause;

/// The pause until the next check, if a client waits when `settle` is over: that client has to be taken first.
const LOOK_AGAIN: Duration = Duration::from_millis(250);

pub(super) const ENDED: &str = "it ended after it was ready";
pub(super) const ABANDONED: &str = "it was abandoned because another replacement failed";

/// Returns the meaning of a sign against a new process, in words.
pub(super) const fn why(sign: Sign) -> &'static str {
    match sign {
        Sign::Ending(_) => "it was ready, and then began to end",
        Sign::Good | Sign::Bad => "it was ready, and then failed its health checks",
        // It took a client when it became ready, and takes none now.
        Sign::Condition(_) => "it was ready, and then did not take a waiting client",
    }
}

#[derive(Debug)]
pub(super) struct Parked {
    pub(super) process: ProcessState,
    pub(super) until: Instant,
    pub(super) cause: Cause,
    /// The process that replaced it.
    pub(super) successor: u64,
}

impl Parked {
    /// Keeps the process parked while a client waits for its successor, until that client is taken or counts as untaken.
    pub(super) fn wait_for_client(&mut self, now: Instant) {
        if self.until <= now + LOOK_AGAIN {
            self.until = now + LOOK_AGAIN;
        }
    }
}
