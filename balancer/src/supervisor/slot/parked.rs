//! A process whose place was taken a moment ago: out of rotation, told nothing, and put back if its successor is no good.
//!
//! A program may be ready and broken all the same: a preforking server listens, takes a first check and then loses its
//! processes, a release ends at the first real request. Until the new process has kept its place for `settle` and leaves no
//! client waiting, the old one has lost nothing that could not be given back.

use std::time::Duration;

use tokio::time::Instant;

use super::health::Sign;
use super::process::ProcessState;
use super::{Effect, Slot};
use crate::stats::Restart as Cause;

/// A client that waits when `settle` is over has to be taken first; it is looked at again after this.
const LOOK_AGAIN: Duration = Duration::from_millis(250);

pub(super) const ENDED: &str = "it ended after it was ready";
pub(super) const ABANDONED: &str = "it was given up with the others";

/// What a sign against a new process says of it.
pub(super) const fn why(sign: Sign) -> &'static str {
    match sign {
        Sign::Ending(_) => "it was ready, and then began to end",
        Sign::Good | Sign::Bad => "it was ready, and then failed its health checks",
        // It took a client when it became ready, and takes none now.
        Sign::Condition(_) => "it was ready, and then left a client untaken",
    }
}

#[derive(Debug)]
pub(super) struct Parked {
    pub(super) process: ProcessState,
    pub(super) until: Instant,
    pub(super) cause: Cause,
    /// The process that took its place.
    pub(super) successor: u64,
}

impl Slot {
    /// Returns when the parked process is to leave for good, if there is one.
    pub(in crate::supervisor) fn settles_at(&self) -> Option<Instant> {
        self.parked.as_ref().map(|parked| parked.until)
    }

    /// A client waits for the new process: keeps the old one parked until that client is taken or counts as untaken.
    pub(super) fn on_waits(&mut self, incarnation: u64, now: Instant) -> Vec<Effect> {
        if self.present(incarnation).is_some()
            && let Some(parked) = self.parked.as_mut().filter(|parked| parked.until <= now + LOOK_AGAIN)
        {
            parked.until = now + LOOK_AGAIN;
        }
        Vec::new()
    }

    /// The new process has settled, or the old one is wanted no more: it leaves.
    pub(super) fn settle(&mut self, now: Instant) -> Vec<Effect> {
        let Some(Parked { process, cause, .. }) = self.parked.take() else { return Vec::new() };
        self.replaced(Some(process), cause, now)
    }

    /// The old process has ended by itself: the new one keeps its place.
    pub(super) fn settle_without(&mut self, cause: Cause, now: Instant) -> Vec<Effect> {
        self.replaced(None, cause, now)
    }

    /// The old process has its place again; the new one leaves, if it still runs.
    pub(super) fn put_back(&mut self, why: &'static str, now: Instant) -> Vec<Effect> {
        let Some(Parked { process, successor: new, .. }) = self.parked.take() else { return Vec::new() };
        let old = process.incarnation;
        let failed = self.current.replace(process);
        let mut effects = vec![Effect::Admit(old)];
        effects.extend(failed.and_then(|failed| self.retire(failed, "given up as a replacement", now)));
        effects.push(Effect::PutBack { old, new, why });
        effects
    }
}
