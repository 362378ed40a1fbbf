//! Handles the exit of a worker, up to the report about it.

use std::sync::Arc;

use tokio::time::Instant;

use super::foreground;
use super::process::WorkerProcess;
use super::recovery::recover;
use super::spec::signal_of;
use super::{Duration, ExitStatus, WorkerSlot};
use crate::os::child::Exit;
use crate::pool::operation::OperationStep;
use crate::rotation::Standing;
use crate::stats::Restart as Cause;
use crate::supervisor::WorkerEvent;
use crate::supervisor::operation::ledger::Closes;
use crate::supervisor::operation::outcome::WorkerOutcome;
use crate::supervisor::slot::KILLED;

/// The longest wait for the last lines after an exit: a grandchild may hold the pipe for ever.
const LAST_LINES_WAIT: Duration = Duration::from_secs(1);
/// The longest wait for the ends of the connections after an exit.
const LAST_ENDS: Duration = Duration::from_secs(3);

impl WorkerSlot {
    /// Handles the exit of a process; `exit` is `None` if there never was a process.
    pub(in crate::supervisor) fn exited(&mut self, incarnation: u64, exit: Option<Exit>) {
        let Some(mut process) = self.processes.remove(&incarnation) else { return };
        process.context.upstream.set_standing(Standing::Dead);
        let what = match self.is_hung(incarnation) {
            // The reason is the hang, not the signal.
            true => "hung: killed by the master".to_owned(),
            false => end_in_words(exit, process.start_error.as_deref()),
        };
        let what = match &process.went_to_background {
            Some(name) => format!("{what}: {}", foreground::advice(&process.context.config.program, name)),
            None => what,
        };
        let (worker, pid) = (self.name(), process.context.pid().unwrap_or(0));
        let retiring = self.slot.retiring().iter().find(|process_state| process_state.incarnation == incarnation);
        let is_asked = retiring.is_some();
        let told = retiring.and_then(|process_state| process_state.told_to_end);
        let why = told.map(|told| told_to_end(told, exit, signal_of(process.context.config.stop_signal).as_raw()));
        if process.start_error.is_none() {
            if is_asked {
                tracing::info!(%worker, pid, exit = %what, why, "worker ended");
            } else {
                tracing::warn!(%worker, pid, exit = %what, "worker died");
            }
            self.last_start_failed = false;
        }
        // A late process was reported already, and no operation waits for an abandoned one.
        let is_late =
            self.slot.process(incarnation).is_some_and(|process_state| process_state.fault == Some(Cause::NeverReady));
        if !process.was_ready && !is_asked && !is_late {
            self.failed_starts.push((incarnation, what.clone()));
        }
        let code = exit.map_or(-1, Exit::code);
        self.stats.last_exit.set(i64::from(code));
        self.last_exit = Some((incarnation, ExitStatus { why, ..ExitStatus::new(what.clone(), code) }));
        self.ask_port_owner_after_death(&process);
        self.save_queue(&mut process);
        self.count_ends(&process, what);
        let report = self.reporter(incarnation);
        let Some(mut capture) = process.capture.take() else { return report(WorkerEvent::LastLines(Arc::default())) };
        tokio::spawn(async move {
            let _ = tokio::time::timeout(LAST_LINES_WAIT, capture.ended()).await;
            // A process in the background may hold these pipes for ever, two more after each restart.
            capture.close();
            report(WorkerEvent::LastLines(capture.last_lines()));
        });
    }

    /// Gives the connections in the queue of an exited process to other workers, if the master holds the listener too.
    fn save_queue(&self, process: &mut WorkerProcess) {
        let upstream = Arc::clone(&process.context.upstream);
        let data_path = Arc::clone(&self.context.data_path);
        if let Some(channel) = process.channel.take() {
            self.end_channel(&channel, process.drain.is_some());
        }
        let own = process.private.listener.clone();
        match own.or_else(|| process.listener_dup.take().map(Arc::new)) {
            Some(listener) => drop(tokio::spawn(recover(listener, upstream, data_path))),
            None => data_path.worker_exited(self.id, upstream.incarnation, Vec::new()),
        }
    }

    /// Counts the ends of a process's connections once all have ended.
    fn count_ends(&mut self, process: &WorkerProcess, exit: String) {
        let Some(draining) = &process.drain else { return };
        self.uncounted += 1;
        let (since, before) = (draining.since, draining.before);
        let upstream = Arc::clone(&process.context.upstream);
        let sees_ends = self.context.pool.sees_ends();
        let (slot, pid) = (self.id.0, process.context.pid().unwrap_or(0));
        let report = self.reporter(upstream.incarnation);
        let took = Instant::now() - since;
        tokio::spawn(async move {
            let _ = tokio::time::timeout(LAST_ENDS, upstream.settled()).await;
            let closes = Closes::of(&upstream).since(before);
            let finished = sees_ends.then_some(closes.finished);
            let step = OperationStep::Ended { slot, pid, exit, took, finished, cut: closes.cut };
            report(WorkerEvent::Counted(step, closes));
        });
    }

    /// Records that the connections of an exited process have all ended and are counted.
    pub(in crate::supervisor) fn counted(&mut self) {
        self.uncounted = self.uncounted.saturating_sub(1);
    }

    /// Stores the last lines of a process. Returns an outcome if it never was in rotation.
    pub(in crate::supervisor) fn record_last_lines(
        &mut self,
        incarnation: u64,
        lines: Arc<[String]>,
    ) -> Option<WorkerOutcome> {
        if let Some((of, exit)) = &mut self.last_exit
            && *of == incarnation
        {
            exit.last_lines = Arc::clone(&lines);
        }
        let at = self.failed_starts.iter().position(|(failed, _)| *failed == incarnation)?;
        let (_, why) = self.failed_starts.swap_remove(at);
        Some(WorkerOutcome::Failed { slot: self.id.index(), incarnation, why, last_lines: lines })
    }

    /// The exit of that process in words, if it was the last one to exit.
    pub(in crate::supervisor) fn exit_of(&self, incarnation: u64) -> Option<&str> {
        self.last_exit.as_ref().filter(|(of, _)| *of == incarnation).map(|(_, exit)| exit.what.as_str())
    }

    /// The last lines of that process, as far as they are known.
    pub(in crate::supervisor) fn last_lines(&self, incarnation: u64) -> Arc<[String]> {
        let running = self.processes.get(&incarnation).and_then(|process| process.capture.as_ref());
        running.map(|capture| capture.last_lines()).unwrap_or_default()
    }

    /// The outcome of a process that was not ready in time, while it is being ended.
    pub(in crate::supervisor) fn lateness(&self, incarnation: u64) -> Option<WorkerOutcome> {
        let process = self.processes.get(&incarnation)?;
        let last_lines = process.capture.as_ref().map(|capture| capture.last_lines()).unwrap_or_default();
        let mut why = process.start_error.clone().unwrap_or_else(|| "not ready in time".to_owned());
        if let Some(look) = &process.last_look {
            why = format!("{why}: {look}");
        }
        Some(WorkerOutcome::Failed { slot: self.id.index(), incarnation, why, last_lines })
    }
}

/// Returns the reason for the end of a process that was told to end, and its exit if that differs from the expected
/// one.
fn told_to_end(why: &str, exit: Option<Exit>, stop_signal: i32) -> String {
    match exit {
        None | Some(Exit::Code(0)) => why.to_owned(),
        Some(Exit::Signal(libc::SIGKILL)) if why == KILLED => why.to_owned(),
        Some(Exit::Signal(signal)) if signal == stop_signal => why.to_owned(),
        Some(exit) => format!("{why} ({exit})"),
    }
}

/// The end of a process in words, for the log and the status: its exit, or the error that prevented its start.
fn end_in_words(exit: Option<Exit>, start_error: Option<&str>) -> String {
    match (start_error, exit) {
        (Some(error), _) => error.to_owned(),
        (None, Some(exit)) => exit.to_string(),
        (None, None) => "ended".to_owned(),
    }
}
