//! The processes of one slot by role. Pure.

use super::parked::Parked;
use super::process::ProcessState;
use crate::stats::Restart as Cause;

/// A process that shall replace the present one, and the reason for that.
#[derive(Debug)]
pub(super) struct Replacement {
    pub(super) process: ProcessState,
    pub(super) cause: Cause,
}

/// The processes of one slot. An incarnation has one role at a time.
#[derive(Debug, Default)]
pub(super) struct Processes {
    /// The process that serves, or is starting to.
    pub(super) current: Option<ProcessState>,
    pub(super) replacement: Option<Replacement>,
    /// The process that was replaced a moment ago and may be put back.
    pub(super) parked: Option<Parked>,
    /// The replaced processes, oldest first.
    pub(super) retiring: Vec<ProcessState>,
}

impl Processes {
    pub(super) fn iter(&self) -> impl Iterator<Item = &ProcessState> {
        let parked = self.parked.iter().map(|parked| &parked.process);
        self.current
            .iter()
            .chain(self.replacement.iter().map(|replacement| &replacement.process))
            .chain(parked)
            .chain(&self.retiring)
    }

    /// Returns true if the slot has no process.
    pub(super) fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }

    /// The process of that incarnation, in whatever role.
    pub(super) fn of(&self, incarnation: u64) -> Option<&ProcessState> {
        self.iter().find(|process| process.incarnation == incarnation)
    }

    /// The present process, if it is that incarnation.
    pub(super) fn present(&mut self, incarnation: u64) -> Option<&mut ProcessState> {
        self.current.as_mut().filter(|process| process.incarnation == incarnation)
    }

    /// The present process or the replacement, whichever is that incarnation.
    pub(super) fn present_or_replacement(&mut self, incarnation: u64) -> Option<&mut ProcessState> {
        let replacement = self.replacement.as_mut().map(|replacement| &mut replacement.process);
        self.current.as_mut().into_iter().chain(replacement).find(|process| process.incarnation == incarnation)
    }

    /// The process of that incarnation, if it is starting and may become ready.
    pub(super) fn starting(&mut self, incarnation: u64) -> Option<&mut ProcessState> {
        let found = self.present_or_replacement(incarnation)?;
        (found.is_starting() && !found.has_closed_channel()).then_some(found)
    }

    /// The retiring process of that incarnation.
    pub(super) fn retiring(&mut self, incarnation: u64) -> Option<&mut ProcessState> {
        self.retiring.iter_mut().find(|process| process.incarnation == incarnation)
    }
}
