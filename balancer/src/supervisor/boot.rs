//! "No worker ever became ready": when a pool gives up on its first start. Pure.
//!
//! Later the master never gives up by itself: an entrypoint must heal when its database returns. But a first start in
//! which nothing ever worked is a mistake that somebody waits to be told of.

use std::sync::Arc;

use tokio::time::Instant;

use crate::config::{self, EndpointKind, Handing};
use crate::failure::{Failure, code};
use crate::mode::Acceptor;

/// Every slot's process has ended this often without one being ready: it will not get better.
const ENOUGH_EXITS: u64 = 3;

/// Watches a pool until its first worker is ready.
#[derive(Debug)]
pub(super) struct Boot {
    deadline: Instant,
    was_ready: bool,
}

/// What one slot has to tell.
#[derive(Clone, Debug)]
pub(super) struct Story {
    /// `pool/slot`.
    pub(super) worker: String,
    pub(super) exits: u64,
    /// The program itself could not be started.
    pub(super) cannot_start: bool,
    /// What happened to it, in words.
    pub(super) what: String,
    /// It listens, but not where it was told to: this says more than any exit.
    pub(super) listens_elsewhere: Option<String>,
    /// It does nothing more than that.
    pub(super) is_idle_elsewhere: bool,
    pub(super) last_lines: Arc<[String]>,
}

impl Boot {
    pub(super) fn new(deadline: Instant) -> Self {
        Self { deadline, was_ready: false }
    }

    /// A worker is ready: this watch ends.
    pub(super) fn ready(&mut self) {
        self.was_ready = true;
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        (!self.was_ready).then_some(self.deadline)
    }

    /// The end of a start that failed.
    pub(super) fn verdict(&mut self, pool: &config::Pool, stories: &[Story], now: Instant) -> Option<Failure> {
        let command = &pool.program;
        let all_exited = stories.iter().all(|story| story.exits >= ENOUGH_EXITS);
        let cannot_start = stories.iter().find(|story| story.cannot_start);
        let is_over = now >= self.deadline || all_exited || cannot_start.is_some() || is_elsewhere_for_good(stories);
        if self.was_ready || !is_over {
            return None;
        }
        // Said once.
        self.was_ready = true;
        let failure = Failure::new(code::FAILED, format!("pool `{}`: no worker became ready", pool.name));
        let elsewhere = stories.iter().find_map(|story| Some((story, story.listens_elsewhere.as_ref()?)));
        if let Some((story, told)) = elsewhere {
            return Some(failure.cause(format!("{}: {told}", story.worker)));
        }
        // Last words come a moment after an exit: those of the latest one may not be in.
        let telling = |story: &&Story| (!story.last_lines.is_empty(), story.exits);
        let story = cannot_start.or_else(|| stories.iter().max_by_key(telling))?;
        let mut cause = format!("{}: {}", story.worker, story.what);
        if !story.last_lines.is_empty() {
            cause.push_str("; it last wrote:");
            for line in &*story.last_lines {
                cause.push_str("\n         ");
                cause.push_str(line);
            }
        }
        let failure = failure.cause(cause);
        Some(failure.hint(match (cannot_start, pool.mode.acceptor()) {
            (Some(_), _) => format!("check that this can be run from here: {command}"),
            (None, Acceptor::Master) if pool.handing() == Handing::Channel => {
                "here a worker is handed its connections: it must be made with worker-runtime or be started as `node FILE`; \
                 any other program needs `--mode proxy`"
                    .to_owned()
            }
            // It listens where it wants, started by us or not.
            (None, _) if pool.handing() == Handing::Node => {
                format!("run it by itself to see what is wrong: {command}")
            }
            (None, Acceptor::Master) if story.exits > 0 && story.what == "exit code 0" => format!(
                "it ends by itself and without an error, as a program does that reads its standard input: that is /dev/null \
                 here; it must serve until it is told to end: {command}"
            ),
            (None, Acceptor::Master) if pool.endpoint == EndpointKind::Unix => format!(
                "with endpoint = \"unix\" PORT holds a path; a program that wants a number there needs endpoint = \"port\": \
                 {command}"
            ),
            (None, Acceptor::Master) => format!("run it by itself to see what is wrong: PORT=20000 {command}"),
            (None, Acceptor::Workers) if story.exits == 0 => {
                "a program that never says so is taken for ready once it runs with `--ready none`".to_owned()
            }
            (None, Acceptor::Workers) => {
                format!("run it by itself to see what is wrong: systemd-socket-activate -l 20000 {command}")
            }
        }))
    }
}

/// True if it is clear before the deadline that the program listens elsewhere: another worker ended since the address was in
/// use, or none has anything more to do.
fn is_elsewhere_for_good(stories: &[Story]) -> bool {
    let has_one = stories.iter().any(|story| story.listens_elsewhere.is_some());
    let is_done = |story: &Story| story.is_idle_elsewhere || story.exits > 0;
    let has_idle = stories.iter().any(|story| story.is_idle_elsewhere);
    has_one && (stories.iter().any(Story::found_its_address_in_use) || (has_idle && stories.iter().all(is_done)))
}

impl Story {
    /// True if it ended and said that an address was in use, in the words of a runtime or of the C library.
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

    fn story(exits: u64, cannot_start: bool) -> Story {
        let last_lines = ["boom: missing DATABASE_URL".to_owned()].into();
        Story {
            worker: "api/0".into(),
            exits,
            cannot_start,
            what: "exit code 3".into(),
            listens_elsewhere: None,
            is_idle_elsewhere: false,
            last_lines,
        }
    }

    #[test]
    fn a_program_on_another_port_is_told_so_even_if_its_twin_died_of_it() {
        let told = Some("your program listens on 0.0.0.0:3000".to_owned());
        let stories = [story(5, false), Story { listens_elsewhere: told, ..story(0, false) }];
        let failure = verdict(&stories, Duration::from_secs(30), false).unwrap().to_string();
        assert!(failure.contains("cause: api/0: your program listens on 0.0.0.0:3000"), "{failure}");
    }

    #[test]
    fn start_ends_early_where_the_program_is_elsewhere_for_good() {
        let elsewhere = || Story { listens_elsewhere: Some("on 3000".to_owned()), ..story(0, false) };
        let in_use = || Story { last_lines: ["Error: listen EADDRINUSE 3000".to_owned()].into(), ..story(1, false) };
        let idle = || Story { is_idle_elsewhere: true, ..elsewhere() };
        let ends = |stories: &[Story]| verdict(stories, Duration::ZERO, false).is_some();
        assert!(
            ends(&[elsewhere(), in_use()]) && ends(&[idle()]) && ends(&[idle(), in_use()]) && ends(&[idle(), idle()])
        );
        assert!(!ends(&[elsewhere()]) && !ends(&[elsewhere(), idle()]) && !ends(&[in_use()]));
        assert!(!ends(&[elsewhere(), story(1, false)]), "another end says nothing of the address");
    }

    fn verdict(stories: &[Story], later: Duration, was_ready: bool) -> Option<Failure> {
        let now = Instant::now();
        let mut boot = Boot::new(now + Duration::from_secs(30));
        if was_ready {
            boot.ready();
        }
        let command = config::Program::Command(vec!["node".into(), "app.js".into()]);
        boot.verdict(&config::Pool::new("api", command), stories, now + later)
    }

    #[test]
    fn three_exits_of_every_slot_are_enough_and_the_last_lines_are_told() {
        assert_eq!(verdict(&[story(3, false), story(2, false)], Duration::ZERO, false), None);
        let failure = verdict(&[story(3, false), story(3, false)], Duration::ZERO, false).unwrap().to_string();
        assert!(failure.contains("pool `api`: no worker became ready"), "{failure}");
        assert!(
            failure.contains("api/0: exit code 3; it last wrote:\n         boom: missing DATABASE_URL"),
            "{failure}"
        );
    }

    #[test]
    fn a_worker_whose_last_words_are_in_speaks_for_one_whose_are_not_yet() {
        let silent = Story { last_lines: Arc::default(), ..story(3, false) };
        let failure = verdict(&[story(3, false), silent], Duration::ZERO, false).unwrap().to_string();
        assert!(failure.contains("boom: missing DATABASE_URL"), "{failure}");
    }

    #[test]
    fn a_program_that_cannot_be_started_is_not_tried_again() {
        assert!(verdict(&[story(1, true), story(0, false)], Duration::ZERO, false).is_some());
    }

    #[test]
    fn time_runs_out_only_where_nothing_was_ever_ready() {
        let late = Duration::from_secs(30);
        assert!(verdict(&[story(0, false)], late, false).is_some());
        assert_eq!(verdict(&[story(9, true)], late, true), None);
    }
}
