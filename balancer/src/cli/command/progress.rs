//! Shows the progress of an operation in lines for people. Pure.

use crate::api::format::{duration, escape};
use crate::api::state::{Connections, Event, MessageTarget, OperationLine, OperationReport};
use crate::failure::{Failure, code};
use crate::pool::operation::OperationKind;

/// A text, and the stream that it goes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Say {
    /// For standard error, written as it is.
    Progress(String),
    /// For standard output, written as it is.
    Answer(String),
    /// For standard error, written as an error.
    Error(String),
}

/// The state of the output: the lines of an answer that were seen so far.
pub(super) struct Progress {
    /// True on a terminal, where the events of one slot share a line that grows; elsewhere each event has its own line.
    has_terminal: bool,
    is_json: bool,
    /// True if the command concerns several pools: then the result lines name their pool.
    is_many: bool,
    /// The line that may still grow, by its worker and the process whose end completes it.
    growing: Option<(String, u32)>,
    /// The new processes that did not become ready: the worker, and the last lines of its output.
    failed: Vec<(String, Vec<String>)>,
    /// True if cut clients are what the user asked for.
    may_cut: bool,
    /// True while an operation was begun and has not reported its end.
    is_under_way: bool,
    /// True once the command has reported its end.
    has_ended: bool,
    code: u8,
}

impl Progress {
    pub(super) fn new(has_terminal: bool, is_json: bool, is_many: bool) -> Self {
        let failed = Vec::new();
        Self {
            has_terminal,
            is_json,
            is_many,
            growing: None,
            failed,
            may_cut: false,
            is_under_way: false,
            has_ended: false,
            code: 0,
        }
    }

    /// Sets whether clients that are cut when the master ends count as success, because the user asked for it.
    pub(super) fn may_cut(mut self, may_cut: bool) -> Self {
        self.may_cut = may_cut;
        self
    }

    /// Prepares for the next command: the end of the one before is not the end of this one.
    pub(super) fn next(&mut self) {
        (self.is_under_way, self.has_ended) = (false, false);
    }

    /// Returns the exit code so far: that of the first failure.
    pub(super) fn code(&self) -> u8 {
        self.code
    }

    /// Notes a failure.
    pub(super) fn note(&mut self, code: u8) {
        if self.code == 0 {
            self.code = code;
        }
    }

    /// Checks that the command, and every operation that it began, has reported its end.
    ///
    /// # Errors
    ///
    /// If one has not: then the result is not known.
    pub(super) fn is_complete(&self) -> Result<(), Failure> {
        match (self.is_under_way, self.has_ended) {
            (false, true) => Ok(()),
            (true, _) => Err(Failure::new(code::FAILED, "the answer of the master ended before the command was over")),
            (false, false) => Err(Failure::new(code::FAILED, "the answer does not tell the result of the command")
                .hint("is another program listening there, or a master of another version?")),
        }
    }

    /// Completes a line that could still grow.
    pub(super) fn close(&mut self) -> Vec<Say> {
        self.growing.take().map(|_| Say::Progress("\n".to_owned())).into_iter().collect()
    }

    /// Returns the texts for one line of the answer; `received` are its bytes.
    pub(super) fn take(&mut self, line: &OperationLine, received: &[u8]) -> Vec<Say> {
        let pool = escape(line.pool.as_deref().unwrap_or("the master"));
        let mut said = Vec::new();
        if let Event::Ended { slot, pid, .. } = &line.event
            && self.growing.take_if(|growing| *growing == (format!("{pool}/{slot}"), *pid)).is_some()
        {
            said.push(Say::Progress(format!("   {}\n", end(&line.event))));
            return said;
        }
        said.extend(self.close());
        match &line.event {
            Event::Began { .. } => {
                self.is_under_way = true;
                self.failed.clear();
                said.push(Say::Progress(format!("{pool}  {}\n", head(&line.event))));
            }
            Event::Ready { slot, pid, instead_of, after_seconds } => {
                let (worker, after) = (format!("{pool}/{slot}"), duration(*after_seconds));
                let pids = instead_of.map_or(format!("pid {pid}"), |old| format!("pid {old} -> {pid}"));
                let grows = instead_of.filter(|_| self.has_terminal);
                let ending = if grows.is_some() { "" } else { "\n" };
                said.push(Say::Progress(format!("  {worker}  {pids}   ready in {after}{ending}")));
                self.growing = grows.map(|old| (worker, old));
            }
            Event::Ended { slot, pid, .. } => {
                said.push(Say::Progress(format!("  {pool}/{slot}  pid {pid}   {}\n", end(&line.event))));
            }
            Event::Failed { slot, why, last_lines } => {
                said.push(Say::Progress(format!("  {pool}/{slot}  {}\n", escape(why))));
                self.failed.push((format!("{pool}/{slot}"), last_lines.clone()));
            }
            Event::Report(report) => {
                (self.is_under_way, self.has_ended) = (false, true);
                self.report(&pool, report, received, &mut said);
            }
            Event::Refused { why, hint } => {
                // As the first update it means that nothing was changed; later, that only part of it was done.
                self.note(if self.has_ended { code::FAILED } else { code::REFUSED });
                self.has_ended = true;
                let failure = Failure::new(code::REFUSED, format!("{pool}: {}", escape(why)));
                let failure = hint.iter().fold(failure, |failure, hint| failure.hint(escape(hint)));
                said.push(Say::Error(failure.to_string()));
            }
            Event::Message { told, workers } => {
                self.has_ended = true;
                self.message(&pool, *told, workers, received, &mut said);
            }
            Event::Stopping => {
                self.is_under_way = true;
                said.push(Say::Progress("the master is stopping\n".to_owned()));
            }
            Event::Stopped { took_seconds, finished, cut } => {
                (self.is_under_way, self.has_ended) = (false, true);
                let connections = match (finished, cut) {
                    (Some(finished), Some(cut)) => format!("   finished {finished}  cut {cut}"),
                    _ => "   connections not observed".to_owned(),
                };
                said.push(Say::Answer(format!("stopped in {}{connections}\n", duration(*took_seconds))));
                if let (Some(cut @ 1..), false) = (*cut, self.may_cut) {
                    self.note(code::FAILED);
                    let s = if cut == 1 { " was" } else { "s were" };
                    said.push(Say::Error(format!("error: the master stopped, but {cut} client{s} cut")));
                }
            }
            Event::Unknown => {}
        }
        said
    }

    fn report(&mut self, pool: &str, report: &OperationReport, received: &[u8], said: &mut Vec<Say>) {
        // A result that this version does not know does not count as success.
        let is_failed = !["done", "lost"].contains(&report.result.as_str());
        said.push(Say::Answer(match self.is_json {
            true => String::from_utf8_lossy(received).into_owned(),
            false => {
                let name = if self.is_many { format!("{pool}  ") } else { String::new() };
                let word = if is_failed { "failed after" } else { "done in" };
                format!("{name}{word} {}   {}\n", duration(report.took_seconds), ledger(report.connections))
            }
        }));
        // A stop rejects new clients on purpose.
        let is_stop = report.verb == OperationKind::Stop.name();
        let lost = report.connections.map_or(0, |of| of.cut.unwrap_or(0) + if is_stop { 0 } else { of.rejected });
        if is_failed {
            self.note(code::FAILED);
            said.push(Say::Error(self.failure(pool, report)));
        } else if lost > 0 {
            self.note(code::FAILED);
            let (verb, s) = (escape(&report.verb), if lost == 1 { " was" } else { "s were" });
            said.push(Say::Error(format!("error: the {verb} of {pool} was carried out, but {lost} client{s} lost")));
        }
    }

    /// Returns the texts for a message. If no worker got it, the command failed as refused; if only some got it, as
    /// failed.
    fn message(&mut self, pool: &str, told: usize, workers: &[MessageTarget], received: &[u8], said: &mut Vec<Say>) {
        for MessageTarget { slot, pid, why, .. } in workers.iter().filter(|worker| !worker.told) {
            let pid = pid.map_or(String::new(), |pid| format!("  pid {pid}"));
            let why = why.as_ref().map_or(String::new(), |why| format!(": {}", escape(why)));
            said.push(Say::Progress(format!("  {pool}/{slot}{pid}   not told{why}\n")));
        }
        let meant = workers.len();
        said.push(Say::Answer(match (self.is_json, told == meant) {
            (true, _) => String::from_utf8_lossy(received).into_owned(),
            (false, true) => format!("told {told} worker{}\n", if told == 1 { "" } else { "s" }),
            (false, false) => format!("told {told} of {meant} workers\n"),
        }));
        let (code, error) = match told {
            0 => (code::REFUSED, format!("error: no worker of {pool} was told")),
            told if told < meant => (code::FAILED, format!("error: not every worker of {pool} was told")),
            _ => return,
        };
        self.note(code);
        said.push(Say::Error(error));
    }

    /// Returns the text of a failure: the reason, the last lines of processes that did not become ready, and advice.
    fn failure(&self, pool: &str, report: &OperationReport) -> String {
        let (verb, generation) = (escape(&report.verb), report.generation);
        let error = match verb.as_str() {
            "reload" => format!("reload of {pool} failed; generation {generation} keeps serving"),
            verb => format!("{verb} of {pool} failed"),
        };
        let mut failure = Failure::new(code::FAILED, error);
        if let Some(cause) = &report.error {
            let mut cause = escape(cause);
            for (worker, lines) in self.failed.iter().filter(|(_, lines)| !lines.is_empty()) {
                cause.push_str(&format!("\n  last lines of {worker}:"));
                lines.iter().for_each(|line| cause.push_str(&format!("\n    {}", escape(line))));
            }
            failure = failure.cause(cause);
        }
        if !self.failed.is_empty() {
            failure = failure.hint(format!("fix the program and run `roundelay {verb} {pool}` again"));
        }
        failure.to_string()
    }
}

fn head(began: &Event) -> String {
    let Event::Began {
        verb,
        generation,
        next_generation,
        slots,
        at_once,
        workers_before,
        workers,
        strategy_before,
        strategy,
    } = began
    else {
        return String::new();
    };
    let plural = if *slots == 1 { "" } else { "s" };
    if let (Some(before), Some(after)) = (strategy_before, strategy) {
        return format!("strategy {} -> {}", escape(before), escape(after));
    }
    match (verb.as_str(), workers_before, workers) {
        ("reload", ..) => {
            let at_once = at_once.map_or(String::new(), |at_once| format!(", {at_once} at a time"));
            let next = next_generation.unwrap_or(generation.saturating_add(1));
            format!("generation {generation} -> {next}, rolling{at_once}")
        }
        ("scale", Some(before), Some(after)) => format!("generation {generation}, {before} -> {after} workers"),
        ("start", ..) if *slots == 0 => "nothing to start: the workers run already".to_owned(),
        ("stop", ..) if *slots == 0 => "nothing to stop: the workers are stopped already".to_owned(),
        (verb, ..) => format!("generation {generation}, {} of {slots} worker{plural}", escape(verb)),
    }
}

fn end(ended: &Event) -> String {
    let Event::Ended { exit, took_seconds, finished, cut, .. } = ended else { return String::new() };
    let took = duration(*took_seconds);
    let mut text = match finished {
        None => format!("ended in {took}"),
        Some(1) => format!("drained 1 connection in {took}"),
        Some(finished) => format!("drained {finished} connections in {took}"),
    };
    if *cut > 0 {
        text.push_str(&format!(", {cut} cut"));
    }
    // These are the usual ends of a worker that was told to end, so they are not shown.
    if exit != "exit code 0" && !exit.ends_with("(TERM)") {
        text.push_str(&format!(", {}", escape(exit)));
    }
    text
}

/// Returns the cost of an operation for clients, on one line.
pub(in crate::cli) fn ledger(connections: Option<Connections>) -> String {
    let Some(connections) = connections else { return "connections not observed".to_owned() };
    let Connections { accepted, served, moved, client_ended, unanswered, closed, rejected, cut } = connections;
    let if_any = |count: Option<u64>| count.filter(|&count| count > 0);
    let words = [
        ("accepted", Some(accepted)),
        ("served", served),
        ("moved", Some(moved)),
        ("client ended", if_any(client_ended)),
        ("unanswered", if_any(unanswered)),
        ("closed", closed),
        ("rejected", Some(rejected)),
        ("cut", cut),
    ];
    let words = words.into_iter().filter_map(|(word, count)| Some(format!("{word} {}", count?)));
    let not_observed = served.is_none().then(|| "ends not observed".to_owned());
    words.chain(not_observed).collect::<Vec<_>>().join("  ")
}
