//! The end of one process in words, and its last output.

use std::sync::Arc;
use std::time::Duration;

use super::context::ProcessContext;
use super::foreground;
use crate::config::Program;
use crate::os::child::Exit;
use crate::output::Capture;
use crate::supervisor::WorkerEvent;
use crate::supervisor::slot::KILLED;

/// The longest wait for the last lines after an exit: a grandchild may hold the pipe for ever.
const LAST_LINES_WAIT: Duration = Duration::from_secs(1);

/// The observations of one process that explain its end.
#[derive(Default)]
pub(super) struct ExitRecord {
    /// The output of the process, once it was forked.
    capture: Option<Capture>,
    /// The reason why the start failed, or was given up.
    start_error: Option<String>,
    /// The name of the process that went on in the background when the started one exited.
    went_to_background: Option<String>,
}

impl ExitRecord {
    /// Takes the output of the process.
    pub(super) fn capture(&mut self, capture: Capture) {
        self.capture = Some(capture);
    }

    /// Records the reason why the process's start failed: that is the reason for its end, not the signal that ends it.
    pub(super) fn fail_start(&mut self, why: String) {
        self.start_error = Some(why);
    }

    /// Records that the process has exited by itself while a process of this name went on.
    pub(super) fn go_to_background(&mut self, name: String) {
        self.went_to_background = Some(name);
    }

    /// The reason why the start failed.
    pub(super) fn start_error(&self) -> Option<&str> {
        self.start_error.as_deref()
    }

    /// Returns the last lines of the process so far.
    pub(super) fn last_lines(&self) -> Arc<[String]> {
        self.capture.as_ref().map(|capture| capture.last_lines()).unwrap_or_default()
    }

    /// Returns the end of the process in words, for the log and the status. `exit` is `None` if there never was a
    /// process; `is_hung` is true if it was killed because it was hung.
    pub(super) fn in_words(&self, exit: Option<Exit>, is_hung: bool, program: &Program) -> String {
        let what = match (is_hung, &self.start_error, exit) {
            // The reason is the hang, not the signal.
            (true, ..) => "hung: killed by the master".to_owned(),
            (false, Some(error), _) => error.clone(),
            (false, None, Some(exit)) => exit.to_string(),
            (false, None, None) => "ended".to_owned(),
        };
        match &self.went_to_background {
            Some(name) => format!("{what}: {}", foreground::advice(program, name)),
            None => what,
        }
    }

    /// Reports the last lines of an exited process once its output has ended.
    pub(super) fn report_last_lines(&mut self, process: &ProcessContext) {
        let report = process.reporter();
        let Some(mut capture) = self.capture.take() else { return report(WorkerEvent::LastLines(Arc::default())) };
        tokio::spawn(async move {
            let _ = tokio::time::timeout(LAST_LINES_WAIT, capture.ended()).await;
            // A process in the background may hold these pipes for ever, two more after each restart.
            capture.close();
            report(WorkerEvent::LastLines(capture.last_lines()));
        });
    }
}

/// Returns the reason for the end of a process that was told to end, and its exit if that differs from the expected
/// one.
pub(super) fn told_to_end(why: &str, exit: Option<Exit>, stop_signal: i32) -> String {
    match exit {
        None | Some(Exit::Code(0)) => why.to_owned(),
        Some(Exit::Signal(libc::SIGKILL)) if why == KILLED => why.to_owned(),
        Some(Exit::Signal(signal)) if signal == stop_signal => why.to_owned(),
        Some(exit) => format!("{why} ({exit})"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn end_is_told_by_its_first_cause() {
        let mut record = ExitRecord::default();
        let words = |record: &ExitRecord, exit, is_hung| record.in_words(exit, is_hung, &Program::Demo);
        assert_eq!(words(&record, Some(Exit::Code(3)), false), "exit code 3");
        assert_eq!(words(&record, None, false), "ended");
        record.fail_start("not ready within 1s".to_owned());
        assert_eq!(words(&record, Some(Exit::Code(3)), false), "not ready within 1s");
        assert_eq!(words(&record, Some(Exit::Code(3)), true), "hung: killed by the master");
        record.go_to_background("nginx".to_owned());
        let told = words(&record, Some(Exit::Code(0)), false);
        assert!(told.starts_with("not ready within 1s: it went into the background"), "{told}");
    }

    #[test]
    fn expected_exit_of_a_told_process_is_left_out() {
        let told = |why, exit| told_to_end(why, Some(exit), libc::SIGTERM);
        assert_eq!(told("stopped by command", Exit::Code(0)), "stopped by command");
        assert_eq!(told("stopped by command", Exit::Signal(libc::SIGTERM)), "stopped by command");
        assert_eq!(told(KILLED, Exit::Signal(libc::SIGKILL)), KILLED);
        assert_eq!(told("stopped by command", Exit::Code(3)), "stopped by command (exit code 3)");
    }
}
