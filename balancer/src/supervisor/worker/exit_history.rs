//! The ends of a slot's processes, as far as they are still to be told. Pure.

use std::sync::Arc;

use crate::pool::ExitStatus;

/// The last exit of a slot, and the starts that have failed.
#[derive(Debug, Default)]
pub(super) struct ExitHistory {
    /// The last exit, with the incarnation that exited.
    last: Option<(u64, ExitStatus)>,
    /// True if the last process could not be started at all.
    last_start_failed: bool,
    /// Processes that ended before they were ever in rotation, with the cause: their last lines are still to come.
    failed_starts: Vec<(u64, String)>,
    /// The number of ended processes whose connections are not all counted yet.
    uncounted: usize,
}

impl ExitHistory {
    /// Records the exit of a process.
    pub(super) fn record(&mut self, incarnation: u64, status: ExitStatus) {
        self.last = Some((incarnation, status));
    }

    /// Records if the last process could not be started at all.
    pub(super) fn set_last_start_failed(&mut self, has_failed: bool) {
        self.last_start_failed = has_failed;
    }

    pub(super) fn last_start_failed(&self) -> bool {
        self.last_start_failed
    }

    /// Records that a process ended before it was ever in rotation.
    pub(super) fn record_failed_start(&mut self, incarnation: u64, why: String) {
        self.failed_starts.push((incarnation, why));
    }

    /// Stores the last lines of an exited process. Returns the cause of its end if it never was in rotation.
    pub(super) fn record_last_lines(&mut self, incarnation: u64, lines: &Arc<[String]>) -> Option<String> {
        if let Some((of, exit)) = &mut self.last
            && *of == incarnation
        {
            exit.last_lines = Arc::clone(lines);
        }
        let at = self.failed_starts.iter().position(|(failed, _)| *failed == incarnation)?;
        Some(self.failed_starts.swap_remove(at).1)
    }

    /// The last exit.
    pub(super) fn last(&self) -> Option<&ExitStatus> {
        self.last.as_ref().map(|(_, exit)| exit)
    }

    /// The exit of that process in words, if it was the last one to exit.
    pub(super) fn of(&self, incarnation: u64) -> Option<&str> {
        self.last.as_ref().filter(|(of, _)| *of == incarnation).map(|(_, exit)| exit.what.as_str())
    }

    /// Records that a process has exited whose connections are still to be counted.
    pub(super) fn begin_count(&mut self) {
        self.uncounted += 1;
    }

    /// Records that the connections of an exited process have all ended and are counted.
    pub(super) fn counted(&mut self) {
        self.uncounted = self.uncounted.saturating_sub(1);
    }

    /// Returns true if the connections of all exited processes are counted.
    pub(super) fn is_counted(&self) -> bool {
        self.uncounted == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn last_lines_belong_to_the_process_that_wrote_them() {
        let mut exits = ExitHistory::default();
        let lines: Arc<[String]> = Arc::from(["bye".to_owned()]);
        exits.record_failed_start(1, "exit code 1".to_owned());
        exits.record(1, ExitStatus::new("exit code 1".to_owned(), 1));
        exits.record(2, ExitStatus::new("exit code 2".to_owned(), 2));
        assert_eq!(exits.record_last_lines(1, &lines).as_deref(), Some("exit code 1"));
        assert_eq!(exits.record_last_lines(1, &lines), None, "told once");
        assert!(exits.last().is_some_and(|exit| exit.last_lines.is_empty()));
        assert_eq!(exits.record_last_lines(2, &lines), None, "it had been in rotation");
        assert!(exits.last().is_some_and(|exit| exit.last_lines.len() == 1));
        assert_eq!((exits.of(1), exits.of(2)), (None, Some("exit code 2")));
    }
}
