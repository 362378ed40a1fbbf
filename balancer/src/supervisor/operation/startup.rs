//! Decides when a pool gives up on its first start: "no worker became ready". Pure.
//!
//! After a first success the master never gives up by itself: an entrypoint must heal when its database returns. But a
//! first start in which nothing ever worked is a mistake, and the user waits to be told of it.

use std::sync::Arc;

use tokio::time::Instant;

use crate::config::{self, EndpointKind, PassedAs};
use crate::failure::{Failure, code};
use crate::mode::Acceptor;

/// The number of exits of every slot, with no worker ready, after which waiting longer will not help.
const ENOUGH_EXITS: u64 = 3;

/// Watches a pool until its first worker is ready.
#[derive(Debug)]
pub(in crate::supervisor) struct StartupMonitor {
    deadline: Instant,
    /// True once a worker was ready, or the start has failed.
    is_over: bool,
}

/// One slot's account of its start.
#[derive(Clone, Debug)]
pub(in crate::supervisor) struct StartupReport {
    /// `pool/slot`.
    pub(in crate::supervisor) worker: String,
    pub(in crate::supervisor) exits: u64,
    /// True if the program itself could not be started.
    pub(in crate::supervisor) cannot_start: bool,
    /// The event that happened to the slot, in words.
    pub(in crate::supervisor) what: String,
    /// The diagnosis of a program that listens on another address than it was told: this says more than any exit.
    pub(in crate::supervisor) listen_diagnosis: Option<String>,
    /// True if the program listens there and does nothing more.
    pub(in crate::supervisor) is_idle_on_other_port: bool,
    pub(in crate::supervisor) last_lines: Arc<[String]>,
}

impl StartupMonitor {
    pub(in crate::supervisor) fn new(deadline: Instant) -> Self {
        Self { deadline, is_over: false }
    }

    /// Records that a worker is ready, which ends the watch.
    pub(in crate::supervisor) fn ready(&mut self) {
        self.is_over = true;
    }

    pub(in crate::supervisor) fn next_deadline(&self) -> Option<Instant> {
        (!self.is_over).then_some(self.deadline)
    }

    /// Returns the error of a start that failed.
    pub(in crate::supervisor) fn failure(
        &mut self,
        pool: &config::PoolConfig,
        reports: &[StartupReport],
        now: Instant,
    ) -> Option<Failure> {
        let command = &pool.program;
        let all_exited = reports.iter().all(|report| report.exits >= ENOUGH_EXITS);
        let cannot_start = reports.iter().find(|report| report.cannot_start);
        let is_hopeless = now >= self.deadline || all_exited || cannot_start.is_some() || stays_on_other_port(reports);
        if self.is_over || !is_hopeless {
            return None;
        }
        // The error is returned once.
        self.is_over = true;
        let failure = Failure::new(code::FAILED, format!("pool `{}`: no worker became ready", pool.name));
        let misplaced = reports.iter().find_map(|report| Some((report, report.listen_diagnosis.as_ref()?)));
        if let Some((report, told)) = misplaced {
            return Some(failure.cause(format!("{}: {told}", report.worker)));
        }
        // Last lines come a moment after an exit: those of the latest exit may still be missing.
        let telling = |report: &&StartupReport| (!report.last_lines.is_empty(), report.exits);
        let report = cannot_start.or_else(|| reports.iter().max_by_key(telling))?;
        let mut cause = format!("{}: {}", report.worker, report.what);
        if !report.last_lines.is_empty() {
            cause.push_str("; it last wrote:");
            for line in &*report.last_lines {
                cause.push_str("\n         ");
                cause.push_str(line);
            }
        }
        let failure = failure.cause(cause);
        Some(failure.hint(match (cannot_start, pool.mode.acceptor()) {
            (Some(_), _) => format!("check that this can be run from here: {command}"),
            (None, Acceptor::Master) if pool.passed_as() == PassedAs::Channel => {
                "here a worker is handed its connections: it must be made with worker-runtime or be started as `node FILE`; \
                 any other program needs `--mode proxy`"
                    .to_owned()
            }
            // A Node program chooses its own port, with or without this master.
            (None, _) if pool.passed_as() == PassedAs::Node => {
                format!("run it by itself to see what is wrong: {command}")
            }
            (None, Acceptor::Master) if report.exits > 0 && report.what == "exit code 0" => format!(
                "it ends by itself and without an error, as a program does that reads its standard input: that is /dev/null \
                 here; it must serve until it is told to end: {command}"
            ),
            (None, Acceptor::Master) if pool.endpoint == EndpointKind::Unix => format!(
                "with endpoint = \"unix\" PORT holds a path; a program that wants a number there needs endpoint = \"port\": \
                 {command}"
            ),
            (None, Acceptor::Master) => format!("run it by itself to see what is wrong: PORT=20000 {command}"),
            (None, Acceptor::Workers) if report.exits == 0 => {
                "a program that never says so is taken for ready once it runs with `--ready none`".to_owned()
            }
            (None, Acceptor::Workers) => {
                format!("run it by itself to see what is wrong: systemd-socket-activate -l 20000 {command}")
            }
        }))
    }
}

/// Returns true if it is clear before the deadline that the program listens on another address: another worker ended
/// because the address was in use, or no worker has anything more to do.
fn stays_on_other_port(reports: &[StartupReport]) -> bool {
    let has_one = reports.iter().any(|report| report.listen_diagnosis.is_some());
    let is_done = |report: &StartupReport| report.is_idle_on_other_port || report.exits > 0;
    let has_idle = reports.iter().any(|report| report.is_idle_on_other_port);
    has_one
        && (reports.iter().any(StartupReport::found_its_address_in_use) || (has_idle && reports.iter().all(is_done)))
}

impl StartupReport {
    /// Returns true if the worker ended and wrote that an address was in use, in the words of a runtime or of the C
    /// library.
    fn found_its_address_in_use(&self) -> bool {
        let is_said = |line: &String| {
            let line = line.to_ascii_lowercase();
            line.contains("address already in use") || line.contains("eaddrinuse") || line.contains("address in use")
        };
        self.exits > 0 && self.last_lines.iter().any(is_said)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn report(exits: u64, cannot_start: bool) -> StartupReport {
        let last_lines = ["boom: missing DATABASE_URL".to_owned()].into();
        StartupReport {
            worker: "api/0".into(),
            exits,
            cannot_start,
            what: "exit code 3".into(),
            listen_diagnosis: None,
            is_idle_on_other_port: false,
            last_lines,
        }
    }

    #[test]
    fn other_port_diagnosis_comes_before_exits_of_other_workers() {
        let told = Some("your program listens on 0.0.0.0:3000".to_owned());
        let reports = [report(5, false), StartupReport { listen_diagnosis: told, ..report(0, false) }];
        let failure = failure(&reports, Duration::from_secs(30), false).unwrap().to_string();
        assert!(failure.contains("cause: api/0: your program listens on 0.0.0.0:3000"), "{failure}");
    }

    #[test]
    fn start_fails_early_if_program_stays_on_another_port() {
        let misplaced = || StartupReport { listen_diagnosis: Some("on 3000".to_owned()), ..report(0, false) };
        let in_use =
            || StartupReport { last_lines: ["Error: listen EADDRINUSE 3000".to_owned()].into(), ..report(1, false) };
        let idle = || StartupReport { is_idle_on_other_port: true, ..misplaced() };
        let ends = |reports: &[StartupReport]| failure(reports, Duration::ZERO, false).is_some();
        assert!(
            ends(&[misplaced(), in_use()]) && ends(&[idle()]) && ends(&[idle(), in_use()]) && ends(&[idle(), idle()])
        );
        assert!(!ends(&[misplaced()]) && !ends(&[misplaced(), idle()]) && !ends(&[in_use()]));
        assert!(!ends(&[misplaced(), report(1, false)]), "another end says nothing of the address");
    }

    fn failure(reports: &[StartupReport], later: Duration, was_ready: bool) -> Option<Failure> {
        let now = Instant::now();
        let mut startup = StartupMonitor::new(now + Duration::from_secs(30));
        if was_ready {
            startup.ready();
        }
        let command = config::Program::Command(vec!["node".into(), "app.js".into()]);
        startup.failure(&config::PoolConfig::new("api", command), reports, now + later)
    }

    #[test]
    fn three_exits_of_every_slot_fail_start_with_last_lines() {
        assert_eq!(failure(&[report(3, false), report(2, false)], Duration::ZERO, false), None);
        let failure = failure(&[report(3, false), report(3, false)], Duration::ZERO, false).unwrap().to_string();
        assert!(failure.contains("pool `api`: no worker became ready"), "{failure}");
        assert!(
            failure.contains("api/0: exit code 3; it last wrote:\n         boom: missing DATABASE_URL"),
            "{failure}"
        );
    }

    #[test]
    fn startup_failure_quotes_a_worker_whose_last_lines_are_known() {
        let silent = StartupReport { last_lines: Arc::default(), ..report(3, false) };
        let failure = failure(&[report(3, false), silent], Duration::ZERO, false).unwrap().to_string();
        assert!(failure.contains("boom: missing DATABASE_URL"), "{failure}");
    }

    #[test]
    fn program_that_cannot_be_started_fails_start_at_once() {
        assert!(failure(&[report(1, true), report(0, false)], Duration::ZERO, false).is_some());
    }

    #[test]
    fn start_deadline_fails_only_pools_that_were_never_ready() {
        let late = Duration::from_secs(30);
        assert!(failure(&[report(0, false)], late, false).is_some());
        assert_eq!(failure(&[report(9, true)], late, true), None);
    }
}
