//! The output of a command for a person and for a script.

mod exit_codes;

use super::*;
use crate::api::state::{Connections, Event, MessageTarget, OperationReport};

fn line(event: Event) -> OperationLine {
    OperationLine { schema: OperationLine::SCHEMA.to_owned(), pool: Some("api".to_owned()), event }
}

fn began() -> Event {
    let (verb, at_once) = ("reload".to_owned(), Some(1));
    let (workers_before, workers, strategy_before, strategy) = (None, None, None, None);
    let (generation, next_generation, slots) = (3, Some(4), 2);
    Event::Began {
        verb,
        generation,
        next_generation,
        slots,
        at_once,
        workers_before,
        workers,
        strategy_before,
        strategy,
    }
}

fn ready(slot: u32, pid: u32, instead_of: Option<u32>) -> Event {
    Event::Ready { slot, pid, instead_of, after_seconds: 0.44 }
}

fn ended(slot: u32, pid: u32, finished: Option<u64>, exit: &str, cut: u64) -> Event {
    Event::Ended { slot, pid, exit: exit.to_owned(), took_seconds: 1.12, finished, cut }
}

fn report(result: &str, error: Option<&str>, connections: Option<Connections>) -> Event {
    let (verb, error) = ("reload".to_owned(), error.map(str::to_owned));
    let result = result.to_owned();
    Event::Report(OperationReport { verb, result, error, generation: 4, took_seconds: 2.84, at: 0.0, connections })
}

const CLEAN: Connections = Connections {
    accepted: 812,
    served: Some(809),
    moved: 0,
    client_ended: Some(0),
    unanswered: Some(0),
    closed: Some(3),
    rejected: 0,
    cut: Some(0),
};

/// Returns standard error, standard output and the exit code after these events.
fn told(mut progress: Progress, events: Vec<Event>) -> (String, String, u8) {
    let (mut err, mut out) = (String::new(), String::new());
    for event in events {
        for say in progress.take(&line(event), b"{json}\n") {
            match say {
                Say::Progress(text) => err.push_str(&text),
                Say::Answer(text) => out.push_str(&text),
                Say::Error(text) => err.push_str(&(text + "\n")),
            }
        }
    }
    for say in progress.close() {
        let Say::Progress(text) = say else { panic!("{say:?}") };
        err.push_str(&text);
    }
    (err, out, progress.code())
}

fn rolling() -> Vec<Event> {
    vec![
        began(),
        ready(0, 41020, Some(40112)),
        ended(0, 40112, Some(7), "killed by signal 15 (TERM)", 0),
        ready(1, 41022, Some(40377)),
        ended(1, 40377, Some(1), "exit code 0", 0),
        report("done", None, Some(CLEAN)),
    ]
}

#[test]
fn on_a_terminal_a_reload_has_a_line_for_each_slot() {
    let (err, out, code) = told(Progress::new(true, false, false), rolling());
    let expected = "\
api  generation 3 -> 4, rolling, 1 at a time
  api/0  pid 40112 -> 41020   ready in 0.4s   drained 7 connections in 1.1s
  api/1  pid 40377 -> 41022   ready in 0.4s   drained 1 connection in 1.1s
";
    assert_eq!(err, expected);
    assert_eq!(out, "done in 2.8s   accepted 812  served 809  moved 0  closed 3  rejected 0  cut 0\n");
    assert_eq!(code, 0);
}

#[test]
fn elsewhere_each_event_has_a_line() {
    let (err, out, _) = told(Progress::new(false, false, true), rolling());
    let expected = "\
api  generation 3 -> 4, rolling, 1 at a time
  api/0  pid 40112 -> 41020   ready in 0.4s
  api/0  pid 40112   drained 7 connections in 1.1s
  api/1  pid 40377 -> 41022   ready in 0.4s
  api/1  pid 40377   drained 1 connection in 1.1s
";
    assert_eq!(err, expected);
    assert!(out.starts_with("api  done in 2.8s   accepted"), "several pools are named: {out}");
}

#[test]
fn growing_line_ends_at_the_event_of_another_slot() {
    let events = vec![began(), ready(0, 2, Some(1)), ready(1, 4, Some(3)), ended(0, 1, None, "exit code 7", 2)];
    let (err, ..) = told(Progress::new(true, false, false), events);
    let expected = "\
api  generation 3 -> 4, rolling, 1 at a time
  api/0  pid 1 -> 2   ready in 0.4s
  api/1  pid 3 -> 4   ready in 0.4s
  api/0  pid 1   ended in 1.1s, 2 cut, exit code 7
";
    assert_eq!(err, expected);
}

#[test]
fn failure_names_the_serving_generation_and_the_last_lines() {
    let why = "pid 41071 exited with code 3 after 0.2s, before it was ready";
    let last_lines = vec!["boom: missing \u{1b}[2JDATABASE_URL".to_owned()];
    let failed = Event::Failed { slot: 0, why: why.to_owned(), last_lines };
    let events = vec![began(), failed, report("failed", Some("worker 0 did not come up"), None)];
    let (err, out, code) = told(Progress::new(false, false, false), events);
    let expected = "\
api  generation 3 -> 4, rolling, 1 at a time
  api/0  pid 41071 exited with code 3 after 0.2s, before it was ready
error: reload of api failed; generation 4 keeps serving
cause: worker 0 did not come up
  last lines of api/0:
    boom: missing \\u{1b}[2JDATABASE_URL
hint:  fix the program and run `roundelay reload api` again
";
    assert_eq!(err, expected);
    assert_eq!((out.as_str(), code), ("failed after 2.8s   connections not observed\n", 1));
}

#[test]
fn lost_clients_are_a_failure() {
    let lost = Connections { rejected: 1, cut: Some(2), ..CLEAN };
    let (err, out, code) = told(Progress::new(false, false, false), vec![report("lost", None, Some(lost))]);
    assert_eq!(err, "error: the reload of api was carried out, but 3 clients were lost\n");
    assert!(out.ends_with("rejected 1  cut 2\n"), "{out}");
    assert_eq!(code, 1);
}

#[test]
fn node_pool_ledger_says_what_is_known() {
    let (served, client_ended, unanswered, closed, cut) = (None, None, None, None, None);
    let node = Connections { accepted: 812, served, moved: 2, client_ended, unanswered, closed, rejected: 0, cut };
    let (err, out, code) = told(Progress::new(false, false, false), vec![report("done", None, Some(node))]);
    let expected = "done in 2.8s   accepted 812  moved 2  rejected 0  ends not observed\n";
    assert_eq!((err.as_str(), out.as_str(), code), ("", expected, 0));
    let lost = Connections { rejected: 1, ..node };
    let (err, _, code) = told(Progress::new(false, false, false), vec![report("lost", None, Some(lost))]);
    assert_eq!((err.as_str(), code), ("error: the reload of api was carried out, but 1 client was lost\n", 1));
}

#[test]
fn clients_cut_at_shutdown_are_a_failure_unless_requested() {
    let stopped = |finished, cut| Event::Stopped { took_seconds: 1.0, finished, cut };
    let progress = || Progress::new(false, false, false);
    let (err, out, code) = told(progress(), vec![Event::Stopping, stopped(Some(4), Some(2))]);
    assert_eq!(err, "the master is stopping\nerror: the master stopped, but 2 clients were cut\n");
    assert_eq!((out.as_str(), code), ("stopped in 1.0s   finished 4  cut 2\n", 1));
    let (err, out, code) = told(progress().may_cut(true), vec![stopped(Some(4), Some(2))]);
    assert_eq!((err.as_str(), out.as_str(), code), ("", "stopped in 1.0s   finished 4  cut 2\n", 0));
    let (_, out, code) = told(progress(), vec![stopped(None, None)]);
    assert_eq!((out.as_str(), code), ("stopped in 1.0s   connections not observed\n", 0));
}

#[test]
fn other_verbs_say_what_they_are_done_to() {
    let head = |verb: &str, slots, workers_before, workers| {
        let (verb, at_once, strategy_before, strategy) = (verb.to_owned(), None, None, None);
        let (generation, next_generation) = (3, None);
        let event = Event::Began {
            verb,
            generation,
            next_generation,
            slots,
            at_once,
            workers_before,
            workers,
            strategy_before,
            strategy,
        };
        told(Progress::new(false, false, false), vec![event]).0
    };
    assert_eq!(head("scale", 2, Some(2), Some(4)), "api  generation 3, 2 -> 4 workers\n");
    assert_eq!(head("restart", 1, None, None), "api  generation 3, restart of 1 worker\n");
    assert_eq!(head("stop", 4, None, None), "api  generation 3, stop of 4 workers\n");

    let strategy: Event = serde_json::from_str(
        r#"{"event":"began","verb":"strategy","generation":3,"slots":0,"strategy_before":"p2c","strategy":"random"}"#,
    )
    .unwrap();
    assert_eq!(told(Progress::new(false, false, false), vec![strategy]).0, "api  strategy p2c -> random\n");
}

#[test]
fn json_is_the_report_as_it_was_received() {
    let (_, out, code) = told(Progress::new(false, true, false), rolling());
    assert_eq!((out.as_str(), code), ("{json}\n", 0));
}

#[test]
fn answer_without_a_final_event_is_a_failure() {
    let mut progress = Progress::new(false, false, false);
    assert_eq!(progress.is_complete().unwrap_err().code, code::FAILED, "nothing was said at all");
    progress.take(&line(began()), b"");
    assert_eq!(progress.is_complete().unwrap_err().code, code::FAILED);
    progress.take(&line(report("done", None, None)), b"");
    assert_eq!(progress.is_complete(), Ok(()));
    // With several commands, each needs an end of its own.
    progress.next();
    assert_eq!(progress.is_complete().unwrap_err().code, code::FAILED);
}

#[test]
fn refusal_after_a_finished_operation_is_a_failure() {
    let refused = || Event::Refused { why: "the master is stopping".to_owned(), hint: None };
    let code = |events| told(Progress::new(false, false, true), events).2;
    assert_eq!(code(vec![began(), report("done", None, None), refused()]), code::FAILED);
    assert_eq!(code(vec![refused(), refused()]), code::REFUSED);
}

#[test]
fn unknown_result_of_a_later_version_is_a_failure() {
    let (_, out, code) = told(Progress::new(false, false, false), vec![began(), report("undone", None, None)]);
    assert!(out.starts_with("failed after"), "{out}");
    assert_eq!(code, code::FAILED);
}

#[test]
fn answer_of_another_program_is_a_failure() {
    use std::io::{Read, Write};
    for body in
        ["", "{}\n", "welcome\n", "{\"schema\":\"roundelay.operation/2\",\"pool\":null,\"event\":\"stopping\"}\n"]
    {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("c");
        let listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let _ = stream.read(&mut [0; 4096]).unwrap();
            write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()).unwrap();
        });
        let failure = reload(&socket, &Reload { pool: None, watching: Watching::default() }).unwrap_err();
        assert_eq!(failure.code, code::FAILED, "{body}: {failure}");
        assert!(failure.error.contains("does not tell the result of the command"), "{failure}");
        server.join().unwrap();
    }
}

#[test]
fn events_of_a_later_version_are_passed_over() {
    let later = r#"{"schema":"roundelay.operation/1","pool":"api","event":"paused","for":3}"#;
    let line: OperationLine = serde_json::from_str(later).unwrap();
    assert_eq!(line.event, Event::Unknown);
    assert!(Progress::new(false, false, false).take(&line, b"").is_empty());
}

fn addressee(slot: u32, why: Option<&str>) -> MessageTarget {
    MessageTarget { slot, pid: Some(slot + 40), told: why.is_none(), why: why.map(str::to_owned) }
}

#[test]
fn message_names_the_workers_not_told_and_the_reason() {
    let event = |told: usize, why: &[Option<&str>]| {
        let workers = (0..).zip(why).map(|(slot, why)| addressee(slot, *why)).collect();
        self::told(Progress::new(false, false, false), vec![Event::Message { told, workers }])
    };
    assert_eq!(event(1, &[None]), (String::new(), "told 1 worker\n".to_owned(), 0));
    assert_eq!(event(2, &[None, None]), (String::new(), "told 2 workers\n".to_owned(), 0));
    let some = "  api/1  pid 41   not told: it is \\u{1b}leaving\nerror: not every worker of api was told\n";
    assert_eq!(
        event(1, &[None, Some("it is \u{1b}leaving")]),
        (some.to_owned(), "told 1 of 2 workers\n".to_owned(), 1)
    );
    let none = "  api/0  pid 40   not told: no\nerror: no worker of api was told\n";
    assert_eq!(event(0, &[Some("no")]), (none.to_owned(), "told 0 of 1 workers\n".to_owned(), code::REFUSED));

    let workers = vec![addressee(0, None)];
    let mut progress = Progress::new(false, true, false);
    let said = progress.take(&line(Event::Message { told: 1, workers }), b"{json}\n");
    assert_eq!(said, [Say::Answer("{json}\n".to_owned())]);
    assert_eq!(progress.is_complete(), Ok(()), "it is the end of the command");
}
