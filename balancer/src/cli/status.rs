//! `roundelay status`: shows on one screen if all is well. The exit code says it, too.

use std::fmt::Write;
use std::path::Path;
use std::process::ExitCode;

use anstyle::{AnsiColor, Style};

use super::args::Status;
use super::command::ledger;
use super::state;
use crate::admin::commands::CommandError;
use crate::api::format::{connections, duration, escape, is_out_of_files, limited, note};
use crate::api::state::{OperationReport, PoolEntry};
use crate::failure::{Failure, code};
use crate::pool::PoolState;

/// The number of workers with a problem that are shown for a pool, so that all fits one screen.
const MOST_TROUBLED: usize = 5;
/// The number of last lines that are shown of a worker.
const MOST_LINES: usize = 3;

/// Prints the condition of the master at `control`, or of one pool. Succeeds if all is well, else returns
/// [`code::DEGRADED`].
///
/// # Errors
///
/// With [`code::NO_MASTER`] if there is none, [`code::NO_TARGET`] if there is no such pool.
pub(super) fn run(control: &Path, status: &Status) -> Result<ExitCode, Failure> {
    let (state, received) = state::fetch(control)?;
    let names = state.pools.iter().map(|pool| pool.name.as_str());
    if let Some(name) = status.pool.as_ref().filter(|name| !names.clone().any(|one| one == *name)) {
        let refused = CommandError::no_pool(name, names);
        let failure = Failure::new(code::NO_TARGET, refused.why);
        return Err(refused.hint.iter().fold(failure, |failure, hint| failure.hint(escape(hint))));
    }
    let meant: Vec<&PoolEntry> =
        state.pools.iter().filter(|pool| status.pool.as_ref().is_none_or(|name| pool.name == *name)).collect();
    match status.json {
        true => state::print(&[&received, b"\n"])?,
        false => state::print(&[render(&meant).as_bytes()])?,
    }
    Ok(ExitCode::from(if is_well(&meant) { 0 } else { code::DEGRADED }))
}

/// Returns true if every one of these pools is ready.
fn is_well(pools: &[&PoolEntry]) -> bool {
    pools.iter().all(|pool| pool.state == PoolState::Ready.name())
}

fn render(pools: &[&PoolEntry]) -> String {
    let width = pools.iter().map(|pool| pool.name.chars().count()).max().unwrap_or(0);
    let mut text = String::new();
    for pool in pools {
        // Writing to a `String` cannot fail.
        let _ = write_pool(&mut text, pool, width);
    }
    text
}

fn write_pool(text: &mut String, pool: &PoolEntry, width: usize) -> std::fmt::Result {
    let (mark, color) = match pool.state.as_str() {
        "ready" => ("●", AnsiColor::Green),
        "degraded" => ("◐", AnsiColor::Yellow),
        "down" => ("○", AnsiColor::Red),
        _ => ("○", AnsiColor::Yellow),
    };
    let (word, connections) = (escape(&pool.state), connections(pool));
    let style: Style = color.on_default();
    let padding = " ".repeat(width.saturating_sub(pool.name.chars().count()));
    writeln!(
        text,
        "{style}{mark}{style:#} {}{padding}  {style}{word:<8}{style:#}  {}/{} workers  generation {}  {connections}",
        escape(&pool.name),
        pool.workers_ready,
        pool.workers_desired,
        pool.generation
    )?;
    if let Some(why) = limited(pool) {
        writeln!(text, "    {why}")?;
    }
    if let Some(verb) = &pool.operation {
        writeln!(text, "    {} is under way", escape(verb))?;
    } else if let Some(report) = &pool.last_report {
        writeln!(text, "    last {}", last(report))?;
    }
    let troubled = pool.workers.iter().filter(|worker| worker.state != "ready" || is_out_of_files(worker));
    for worker in troubled.clone().take(MOST_TROUBLED) {
        let note = note(worker);
        let gap = if note.is_empty() { "" } else { "  " };
        writeln!(text, "    {}/{}  {}{gap}{note}", escape(&pool.name), worker.slot, escape(&worker.state))?;
        let lines = worker.last_exit.as_ref().map_or(&[][..], |exit| exit.last_lines.as_slice());
        for line in lines.iter().skip(lines.len().saturating_sub(MOST_LINES)) {
            writeln!(text, "      | {}", escape(line))?;
        }
    }
    match troubled.count().saturating_sub(MOST_TROUBLED) {
        0 => Ok(()),
        more => writeln!(text, "    and {more} more; see `roundelay list`"),
    }
}

/// Returns the last operation on one line.
fn last(report: &OperationReport) -> String {
    let (verb, result) = (escape(&report.verb), escape(&report.result));
    let why = report.error.as_ref().map_or(String::new(), |error| format!(": {}", escape(error)));
    format!("{verb}: {result} in {}   {}{why}", duration(report.took_seconds), ledger(report.connections))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::tests::{Server, pool, publish};
    use crate::pool::SlotState;

    fn shown(server: &Server) -> (String, bool) {
        let (state, _) = state::fetch(&server.control).unwrap();
        let pools: Vec<&PoolEntry> = state.pools.iter().collect();
        (anstream::adapter::strip_str(&render(&pools)).to_string(), is_well(&pools))
    }

    fn asked(server: &Server, pool: Option<&str>) -> Result<ExitCode, Failure> {
        run(&server.control, &Status { pool: pool.map(str::to_owned), json: false })
    }

    #[test]
    fn degraded_pool_is_shown_with_reason_and_last_lines() {
        let server = Server::start(vec![pool("api"), pool("jobs")]);
        publish(&server.pools[0], |status| status.workers[1].state = SlotState::Ready);
        let (text, is_well) = shown(&server);
        let lines: Vec<&str> = text.lines().collect();
        let expected = "● api   ready     2/2 workers  generation 1  0 open, 0 accepted, 0 rejected";
        assert_eq!(lines[0], expected);
        assert!(lines[1].starts_with("◐ jobs  degraded  1/2 workers"), "{text}");
        assert!(lines[2].starts_with("    jobs/1  backoff  next start in "), "{text}");
        assert_eq!(lines[3], "      | boom: missing DATABASE_URL");
        assert!(!is_well);
        assert_eq!(asked(&server, None), Ok(ExitCode::from(code::DEGRADED)));
        assert_eq!(asked(&server, Some("api")), Ok(ExitCode::SUCCESS));
    }

    #[test]
    fn pool_out_of_descriptors_is_degraded_and_says_why() {
        use crate::stats::AcceptLimit;
        let server = Server::start(vec![pool("api")]);
        publish(&server.pools[0], |status| status.workers[1].state = SlotState::Ready);
        let limits = &server.pools[0].stats.accept_limits;
        limits.begin(AcceptLimit::MaxConnections, tokio::time::Instant::now());
        let (text, is_well) = shown(&server);
        assert!(
            text.contains("● api  ready") && text.contains("    clients wait: max-connections is reached\n"),
            "{text}"
        );
        assert!(is_well, "as the configuration asks");
        limits.begin(AcceptLimit::OpenFiles, tokio::time::Instant::now());
        let (text, is_well) = shown(&server);
        assert!(text.starts_with("◐ api  degraded") && !is_well, "{text}");
        assert!(text.contains("    clients wait: the limit of open files is used up\n"), "{text}");
    }

    #[test]
    fn present_and_last_operation_are_shown() {
        use crate::pool::operation::{Ends, Ledger, OperationKind, Report};
        let server = Server::start(vec![pool("api")]);
        let report = Report {
            verb: OperationKind::Reload,
            result: Ok(()),
            generation: 2,
            took: std::time::Duration::from_millis(2840),
            at: std::time::SystemTime::now(),
            ledger: Some(Ledger {
                accepted: 812,
                ends: Some(Ends { served: 812, ..Ends::default() }),
                ..Ledger::default()
            }),
        };
        publish(&server.pools[0], |status| status.last_report = Some(report.into()));
        let (text, _) = shown(&server);
        let expected = "    last reload: done in 2.8s   accepted 812  served 812  moved 0  closed 0  rejected 0  cut 0";
        assert!(text.lines().any(|line| line == expected), "{text}");
        publish(&server.pools[0], |status| status.operation = Some(OperationKind::Scale));
        assert!(shown(&server).0.contains("    scale is under way\n"));
    }

    #[test]
    fn wrong_pool_name_gets_a_suggestion() {
        let server = Server::start(vec![pool("api"), pool("jobs")]);
        let failure = asked(&server, Some("apj")).unwrap_err();
        assert_eq!((failure.code, failure.error.as_str()), (code::NO_TARGET, "no pool named `apj`"));
        assert_eq!(failure.hint.as_deref(), Some("did you mean `api`? pools: api, jobs"));
        let none = run(Path::new("/nowhere/c"), &Status { pool: None, json: false });
        assert_eq!(none.unwrap_err().code, code::NO_MASTER);
    }
}
