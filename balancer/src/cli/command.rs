//! The commands that change a running master: sends them, shows their progress, and returns the exit code of the
//! result.

mod message;
mod progress;

use std::io::{IsTerminal, Write};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::ExitCode;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::time::Instant;

use super::args::{Message, Reload, Scale, Shutdown, Targeted, Watching};
use super::client::{self, CommandResponse, Reply};
use super::target::{Target, checked};
use super::{print_error, state};
use crate::admin::commands::Size;
use crate::api::format::escape_long;
use crate::api::state::{OperationLine, Problem};
use crate::config::nearest;
use crate::failure::{Failure, code};
use crate::pool::operation::OperationKind;
use crate::printable;
use crate::strategy;
pub(super) use progress::ledger;
use progress::{Progress, Say};

/// The time for the process to end after it said that it ends, in seconds.
const LAST_STEPS: u64 = 10;

/// `roundelay reload`.
pub(super) fn reload(control: &Path, reload: &Reload) -> Result<ExitCode, Failure> {
    let pool = reload.pool.as_deref().map(checked).transpose()?;
    let path = pool.as_ref().map_or("/api/v1/reload".to_owned(), |pool| path_of(pool, OperationKind::Reload));
    let mut run = CommandRun::new(control, &reload.watching, pool.is_none());
    run.give(&path, String::new())?;
    Ok(run.end())
}

/// `roundelay scale`.
pub(super) fn scale(control: &Path, scale: &Scale) -> Result<ExitCode, Failure> {
    let pool = checked(&scale.pool)?;
    let size = Size::parse(&scale.workers).ok_or_else(|| {
        Failure::new(code::USAGE, format!("`{}` is not a number of workers", printable::escape(&scale.workers)))
            .hint("write 4, +1, -1, max or auto; a pool has 1 to 1024 workers")
    })?;
    let mut run = CommandRun::new(control, &scale.watching, false);
    run.give(&path_of(&pool, OperationKind::Scale), format!(r#"{{"workers":"{size}"}}"#))?;
    Ok(run.end())
}

/// `roundelay strategy POOL NAME`.
pub(super) fn strategy(control: &Path, pool: &str, name: &str, watching: &Watching) -> Result<ExitCode, Failure> {
    let entry = strategy::find(name).ok_or_else(|| {
        let names = || strategy::ALL.iter().map(|entry| entry.name);
        let all = names().collect::<Vec<_>>().join(", ");
        let hint = nearest(name, names()).map_or(format!("there is {all}"), |near| format!("did you mean `{near}`?"));
        Failure::new(code::USAGE, format!("unknown strategy `{}`", printable::escape(name))).hint(hint)
    })?;
    let mut run = CommandRun::new(control, watching, false);
    run.give(&path_of(pool, OperationKind::Strategy), format!(r#"{{"strategy":"{}"}}"#, entry.name))?;
    Ok(run.end())
}

/// `roundelay restart`, `stop` and `start`.
pub(super) fn targeted(control: &Path, verb: OperationKind, targeted: &Targeted) -> Result<ExitCode, Failure> {
    let Some(target) = &targeted.target else {
        if !targeted.all {
            return Err(Failure::new(code::USAGE, "missing POOL or POOL/WORKER (or --all)")
                .hint(format!("for example: roundelay {} api/0", verb.name())));
        }
        return everything(control, verb, &targeted.watching);
    };
    let target = Target::parse(target)?;
    let mut run = CommandRun::new(control, &targeted.watching, false);
    run.give(&path_of(&target.pool, verb), target.body())?;
    Ok(run.end())
}

/// Runs the command on every pool, one after the other. If a restart fails, the remaining pools are not tried; with the
/// other commands they are.
fn everything(control: &Path, verb: OperationKind, watching: &Watching) -> Result<ExitCode, Failure> {
    let (state, _) = state::fetch(control)?;
    let mut run = CommandRun::new(control, watching, true);
    for pool in &state.pools {
        let given = run.give(&path_of(&pool.name, verb), "{}".to_owned());
        match given {
            Err(failure) if verb != OperationKind::Restart && failure.code == code::REFUSED => {
                print_error(&failure.to_string());
                run.progress.note(failure.code);
            }
            given => drop(given?),
        }
        if verb == OperationKind::Restart && run.progress.code() != 0 {
            break;
        }
    }
    Ok(run.end())
}

/// `roundelay message`. It takes about a second at most, so it has no timeout of its own.
pub(super) fn message(control: &Path, message: &Message) -> Result<ExitCode, Failure> {
    let target = Target::parse(&message.target)?;
    let json = message::json(&message.message, message.text, std::io::stdin())?;
    let watching = Watching { timeout: None, json: message.json };
    let mut run = CommandRun::new(control, &watching, false);
    run.give(&format!("/api/v1/pools/{}/message", target.pool), message::body(&target, &json))?;
    Ok(run.end())
}

/// `roundelay shutdown`: returns when the master's process has ended.
pub(super) fn shutdown(control: &Path, shutdown: &Shutdown) -> Result<ExitCode, Failure> {
    let watching = Watching { timeout: shutdown.timeout, json: false };
    let mut run = CommandRun::new(control, &watching, false);
    run.progress = run.progress.may_cut(shutdown.now);
    let master = run.give("/api/v1/shutdown", format!(r#"{{"now":{}}}"#, shutdown.now))?;
    if let Some(master) = master {
        // Waits for the process itself: its ports and its lock are free when it has ended, not already when it said so.
        let patience = Timespec { tv_sec: LAST_STEPS.cast_signed(), tv_nsec: 0 };
        let mut watched = [PollFd::new(&master, PollFlags::IN)];
        if poll(&mut watched, Some(&patience)) == Ok(0) {
            return Err(Failure::new(
                code::TIMED_OUT,
                format!("the master stopped everything, but its process still runs after {LAST_STEPS} s"),
            ));
        }
    }
    Ok(run.end())
}

fn path_of(pool: &str, verb: OperationKind) -> String {
    format!("/api/v1/pools/{pool}/{}", verb.name())
}

/// Commands that are given one after the other, and their result so far.
struct CommandRun<'a> {
    control: &'a Path,
    deadline: Option<Instant>,
    progress: Progress,
}

impl<'a> CommandRun<'a> {
    fn new(control: &'a Path, watching: &Watching, is_many: bool) -> Self {
        let deadline = watching.timeout.map(|within| Instant::now() + within);
        let progress = Progress::new(std::io::stderr().is_terminal(), watching.json, is_many);
        Self { control, deadline, progress }
    }

    /// Gives one command and shows its progress. Returns the master's process, if it is known.
    ///
    /// # Errors
    ///
    /// The command was not begun, or its result is not known.
    fn give(&mut self, path: &str, body: String) -> Result<Option<OwnedFd>, Failure> {
        let progress = &mut self.progress;
        progress.next();
        let line = |bytes: &[u8]| {
            // A line of another version, or one that cannot be parsed, is skipped: it does not count as the command's
            // end.
            if let Ok(line) = serde_json::from_slice::<OperationLine>(bytes)
                && line.schema == OperationLine::SCHEMA
            {
                show(progress.take(&line, bytes));
            }
        };
        let answer = client::post(self.control, path, body, self.deadline, line);
        show(self.progress.close());
        match answer? {
            CommandResponse::Refused(reply) => Err(refusal(&reply)),
            CommandResponse::Over(master) => self.progress.is_complete().map(|()| master),
        }
    }

    fn end(self) -> ExitCode {
        ExitCode::from(self.progress.code())
    }
}

fn show(said: Vec<Say>) {
    for say in said {
        match say {
            // If standard error is closed, the command goes on, and the exit code still tells the result.
            Say::Progress(text) => drop(anstream::stderr().write_all(text.as_bytes())),
            Say::Answer(text) => drop(state::print(&[text.as_bytes()])),
            Say::Error(text) => print_error(&text),
        }
    }
}

/// Turns a problem document into an error of the command.
fn refusal(reply: &Reply) -> Failure {
    let problem: Option<Problem> = serde_json::from_slice(&reply.body).ok();
    let code = match reply.status {
        404 => code::NO_TARGET,
        403 | 409 | 503 => code::REFUSED,
        _ => code::FAILED,
    };
    let Some(problem) = problem else {
        return Failure::new(code, format!("the master answered with HTTP status {}", reply.status));
    };
    let lines: Vec<String> = problem.detail.lines().map(escape_long).collect();
    let failure = match (reply.status, lines.as_slice()) {
        // The answer lists every mistake of the file, as `config check` does.
        (422, lines) => {
            let failure = Failure::new(code, "the configuration was not reloaded, and nothing was changed");
            failure.cause(format!("it has mistakes\n{}", lines.join("\n")))
        }
        (_, [line]) => Failure::new(code, line.clone()),
        (_, lines) => {
            Failure::new(code, "the command was refused, and nothing was changed").cause(lines.join("\n       "))
        }
    };
    match problem.hint {
        Some(hint) => failure.hint(crate::api::format::escape(&hint)),
        None => failure,
    }
}

#[cfg(test)]
mod tests;
