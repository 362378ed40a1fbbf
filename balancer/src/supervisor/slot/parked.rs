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
use super::{Effect, Slot};
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

impl Slot {
    /// Returns the time at which the parked process leaves for good, if there is one.
    pub(in crate::supervisor) fn settles_at(&self) -> Option<Instant> {
        self.parked.as_ref().map(|parked| parked.until)
    }

    /// Keeps the old process parked while a client waits for the new one, until that client is taken or counts as
    /// untaken.
    pub(super) fn on_waits(&mut self, incarnation: u64, now: Instant) -> Vec<Effect> {
        if self.present(incarnation).is_some()
            && let Some(parked) = self.parked.as_mut().filter(|parked| parked.until <= now + LOOK_AGAIN)
        {
            parked.until = now + LOOK_AGAIN;
        }
        Vec::new()
    }

    /// Retires the old process: the new one has settled, or the old one is not needed any more.
    pub(super) fn settle(&mut self, now: Instant) -> Vec<Effect> {
        let Some(Parked { process, cause, .. }) = self.parked.take() else { return Vec::new() };
        self.replaced(Some(process), cause, now)
    }

    /// Keeps the new process for good, because the parked one has exited by itself.
    pub(super) fn settle_without(&mut self, cause: Cause, now: Instant) -> Vec<Effect> {
        self.replaced(None, cause, now)
    }

    /// Puts the old process back into rotation; the new one is retired, if it still runs.
    pub(super) fn put_back(&mut self, why: &'static str, now: Instant) -> Vec<Effect> {
        let Some(Parked { process, successor: new, .. }) = self.parked.take() else { return Vec::new() };
        let old = process.incarnation;
        let failed = self.current.replace(process);
        let mut effects = vec![Effect::Admit(old)];
        effects.extend(failed.and_then(|failed| self.retire(failed, "abandoned as a replacement", now)));
        effects.push(Effect::PutBack { old, new, why });
        effects
    }
}
