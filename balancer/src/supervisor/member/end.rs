//! From an exit to the story that is told of it.

use std::sync::Arc;

use tokio::time::Instant;

use super::super::launch::signal_of;
use super::super::ledger::Closes;
use super::super::note::Note;
use super::super::slot::KILLED;
use super::super::{News, foreground};
use super::process::Process;
use super::recovery::recover;
use super::{Duration, ExitStatus, Member};
use crate::os::child::Exit;
use crate::pool::operation::Step;
use crate::rotation::Standing;
use crate::stats::Restart as Cause;

/// How long after an exit its last words are waited for: a grandchild may hold the pipe for ever.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// How long after an exit the ends of its connections are waited for.
const LAST_ENDS: Duration = Duration::from_secs(3);

impl Member {
    /// Its process is gone; `None` if there never was one.
    pub(in crate::supervisor) fn exited(&mut self, incarnation: u64, exit: Option<Exit>) {
        let Some(mut process) = self.processes.remove(&incarnation) else { return };
        process.upstream.set_standing(Standing::Dead);
        let what = match self.is_hung(incarnation) {
            // Its story is not the signal.
            true => "hung: killed by the master".to_owned(),
            false => end_in_words(exit, process.start_error.as_deref()),
        };
        let what = match &process.went_to_background {
            Some(name) => format!("{what}: {}", foreground::advice(&process.rules.program, name)),
            None => what,
        };
        let (worker, pid) = (self.name(), process.pid.unwrap_or(0));
        let leaving = self.slot.leaving().iter().find(|life| life.incarnation == incarnation);
        let is_asked = leaving.is_some();
        let told = leaving.and_then(|life| life.told_to_end);
        let why = told.map(|told| told_to_end(told, exit, signal_of(process.rules.stop_signal).as_raw()));
        if process.start_error.is_none() {
            if is_asked {
                tracing::info!(%worker, pid, exit = %what, why, "worker ended");
            } else {
                tracing::warn!(%worker, pid, exit = %what, "worker died");
            }
            self.last_start_failed = false;
        }
        // Of what was late it has been told, and of what was given up nobody waits to hear.
        let is_late = self.slot.life(incarnation).is_some_and(|life| life.fault == Some(Cause::NeverReady));
        if !process.was_ready && !is_asked && !is_late {
            self.stillborn.push((incarnation, what.clone()));
        }
        let code = exit.map_or(-1, Exit::code);
        self.stats.last_exit.set(i64::from(code));
        self.last_exit = Some((incarnation, ExitStatus { why, ..ExitStatus::new(what.clone(), code) }));
        self.ask_port_owner_after_death(&process);
        self.save_queue(&mut process);
        self.count_ends(&process, what);
        let report = self.reporter(incarnation);
        let Some(mut capture) = process.capture.take() else { return report(News::LastWords(Arc::default())) };
        tokio::spawn(async move {
            let _ = tokio::time::timeout(LAST_WORDS, capture.ended()).await;
            // A process in the background may hold these pipes for ever, two more after each restart.
            capture.close();
            report(News::LastWords(capture.last_lines()));
        });
    }

    /// What waits in its queue goes to other workers, as far as its listener is held here too.
    fn save_queue(&self, process: &mut Process) {
        let upstream = Arc::clone(&process.upstream);
        let connections = Arc::clone(&self.context.connections);
        if let Some(channel) = process.channel.take() {
            self.end_line(&channel, process.drain.is_some());
        }
        let own = process.private.listener.clone();
        match own.or_else(|| process.spare.take().map(Arc::new)) {
            Some(listener) => drop(tokio::spawn(recover(listener, upstream, connections))),
            None => connections.orphan(self.id, upstream.incarnation, Vec::new()),
        }
    }

    /// Counts the ends of its connections once they all have one.
    fn count_ends(&mut self, process: &Process, exit: String) {
        let Some(draining) = &process.drain else { return };
        self.uncounted += 1;
        let (since, before) = (draining.since, draining.before);
        let upstream = Arc::clone(&process.upstream);
        let sees_ends = self.context.pool.sees_ends();
        let (slot, pid) = (self.id.0, process.pid.unwrap_or(0));
        let report = self.reporter(upstream.incarnation);
        let took = Instant::now() - since;
        tokio::spawn(async move {
            let _ = tokio::time::timeout(LAST_ENDS, upstream.settled()).await;
            let closes = Closes::of(&upstream).since(before);
            let finished = sees_ends.then_some(closes.finished);
            let step = Step::Ended { slot, pid, exit, took, finished, cut: closes.cut };
            report(News::Counted(step, closes));
        });
    }

    /// All its connections have ended and are counted.
    pub(in crate::supervisor) fn counted(&mut self) {
        self.uncounted = self.uncounted.saturating_sub(1);
    }

    /// What a process last wrote. A note if it never was in rotation.
    pub(in crate::supervisor) fn last_words(&mut self, incarnation: u64, lines: Arc<[String]>) -> Option<Note> {
        if let Some((of, exit)) = &mut self.last_exit
            && *of == incarnation
        {
            exit.last_lines = Arc::clone(&lines);
        }
        let at = self.stillborn.iter().position(|(stillborn, _)| *stillborn == incarnation)?;
        let (_, why) = self.stillborn.swap_remove(at);
        Some(Note::NotUp { slot: self.id.index(), incarnation, why, last_lines: lines })
    }

    /// How that process ended, if it was the last one that did.
    pub(in crate::supervisor) fn exit_of(&self, incarnation: u64) -> Option<&str> {
        self.last_exit.as_ref().filter(|(of, _)| *of == incarnation).map(|(_, exit)| exit.what.as_str())
    }

    /// What that process has written last, as far as it is known.
    pub(in crate::supervisor) fn last_lines(&self, incarnation: u64) -> Arc<[String]> {
        let running = self.processes.get(&incarnation).and_then(|process| process.capture.as_ref());
        running.map(|capture| capture.last_lines()).unwrap_or_default()
    }

    /// What is to be told of one that was not ready in time, while it is being ended.
    pub(in crate::supervisor) fn lateness(&self, incarnation: u64) -> Option<Note> {
        let process = self.processes.get(&incarnation)?;
        let last_lines = process.capture.as_ref().map(|capture| capture.last_lines()).unwrap_or_default();
        let mut why = process.start_error.clone().unwrap_or_else(|| "not ready in time".to_owned());
        if let Some(look) = &process.last_look {
            why = format!("{why}: {look}");
        }
        Some(Note::NotUp { slot: self.id.index(), incarnation, why, last_lines })
    }
}

/// Why a process ended that was told to, and how where that was not as it was told.
fn told_to_end(why: &str, exit: Option<Exit>, stop_signal: i32) -> String {
    match exit {
        None | Some(Exit::Code(0)) => why.to_owned(),
        Some(Exit::Signal(libc::SIGKILL)) if why == KILLED => why.to_owned(),
        Some(Exit::Signal(signal)) if signal == stop_signal => why.to_owned(),
        Some(exit) => format!("{why} ({exit})"),
    }
}

/// In words for the log and the status: how a process ended, or why it never ran.
fn end_in_words(exit: Option<Exit>, start_error: Option<&str>) -> String {
    match (start_error, exit) {
        (Some(error), _) => error.to_owned(),
        (None, Some(exit)) => exit.to_string(),
        (None, None) => "ended".to_owned(),
    }
}
