//! Commands over real sockets; the test itself plays the application.

use std::io::Write;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use roundelay_test_kit::wait_until;
use tokio::sync::mpsc;

use super::*;
use crate::admin::tests::{Reply, Server, pool};
use crate::api::state::{Event, OperationLine};
use crate::pool::operation::{Ends, Ledger};

fn server() -> (Server, mpsc::Receiver<CommandRequest>) {
    Server::with_commands(vec![pool("api"), pool("jobs")])
}

fn send(server: &Server, request: &str) -> UnixStream {
    let mut stream = UnixStream::connect(&server.control).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    // A refused body is not read to its end, so writing the rest of it may fail.
    let _ = stream.write_all(request.as_bytes());
    stream
}

fn request(path: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\n\
         Content-Length: {length}\r\n\r\n{body}"
    )
}

fn post(server: &Server, path: &str, body: &str) -> Reply {
    Reply::read(send(server, &request(path, body)))
}

/// Reads the answer to a request whose body is not read to its end: the connection is reset after the answer.
fn read_refusal(mut stream: UnixStream) -> Reply {
    use std::io::Read;
    let mut answer = Vec::new();
    // The bytes that arrived before the reset are kept.
    let _ = stream.read_to_end(&mut answer);
    Reply::read(answer.as_slice())
}

/// Answers the next command with these updates.
fn answer(commands: &mut mpsc::Receiver<CommandRequest>, news: Vec<CommandUpdate>) -> ControlCommand {
    let CommandRequest { command, reply, .. } = commands.blocking_recv().unwrap();
    news.into_iter().for_each(|told| drop(reply.send(told)));
    command
}

fn began() -> CommandUpdate {
    let step = OperationStep::Began { verb: OperationKind::Reload, generation: 3, next_generation: Some(4), slots: 2 };
    CommandUpdate::Step {
        pool: "api".into(),
        step,
        plan: PlannedChange { at_once: Some(1), ..PlannedChange::default() },
    }
}

fn report() -> CommandUpdate {
    let report = Report {
        verb: OperationKind::Reload,
        result: Ok(()),
        generation: 4,
        took: Duration::from_millis(2800),
        at: std::time::SystemTime::now(),
        ledger: Some(Ledger {
            accepted: 812,
            ends: Some(Ends { served: 812, ..Ends::default() }),
            ..Ledger::default()
        }),
    };
    CommandUpdate::Report { pool: "api".into(), report }
}

/// Returns the lines of a chunked answer.
fn lines(reply: &Reply) -> Vec<OperationLine> {
    assert_eq!(reply.header("transfer-encoding"), Some("chunked"));
    assert!(reply.body.ends_with("0\r\n\r\n"), "the answer is not complete: {}", reply.body);
    reply.body.lines().filter(|line| line.starts_with('{')).map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn every_path_gives_its_control_command() {
    let (server, mut commands) = server();
    let api = || "api".to_owned();
    for (path, body, expected) in [
        ("/api/v1/reload", "", ControlCommand::Reload { pool: None }),
        ("/api/v1/pools/api/reload", "{}", ControlCommand::Reload { pool: Some(api()) }),
        (
            "/api/v1/pools/api/scale",
            r#"{"workers":"+1"}"#,
            ControlCommand::Scale { pool: api(), workers: Size::More(1) },
        ),
        ("/api/v1/pools/api/restart", "", ControlCommand::Restart { pool: api(), slots: SlotRange::All }),
        (
            "/api/v1/pools/api/stop",
            r#"{"slots":"1"}"#,
            ControlCommand::Stop { pool: api(), slots: SlotRange::Slots(1, 1) },
        ),
        ("/api/v1/pools/api/start", "{}", ControlCommand::Start { pool: api(), slots: SlotRange::All }),
        ("/api/v1/shutdown", r#"{"now":true}"#, ControlCommand::Shutdown { now: true }),
    ] {
        let stream = send(&server, &request(path, body));
        assert_eq!(answer(&mut commands, vec![CommandUpdate::Stopping]), expected);
        assert_eq!(Reply::read(stream).status, 200, "{path}");
    }
}

#[test]
fn begun_command_is_told_by_lines_and_ends_with_the_report() {
    let (server, mut commands) = server();
    let stream = send(&server, &request("/api/v1/pools/api/reload", "{}"));
    let step = OperationStep::Ended {
        slot: 0,
        pid: 7,
        exit: "exit code 0".into(),
        took: Duration::from_secs(1),
        finished: None,
        cut: 2,
    };
    let step = CommandUpdate::Step { pool: "api".into(), step, plan: PlannedChange::default() };
    answer(&mut commands, vec![began(), step, report()]);
    let reply = Reply::read(stream);
    assert_eq!((reply.status, reply.header("content-type")), (200, Some("application/x-ndjson")));
    assert_eq!(reply.header("x-content-type-options"), Some("nosniff"));
    let lines = lines(&reply);
    assert!(lines.iter().all(|line| line.schema == OperationLine::SCHEMA && line.pool.as_deref() == Some("api")));
    assert!(matches!(&lines[0].event, Event::Began { verb, at_once: Some(1), .. } if verb == "reload"));
    assert!(matches!(&lines[1].event, Event::Ended { finished: None, cut: 2, .. }));
    let Event::Report(last) = &lines[2].event else { panic!("{lines:?}") };
    assert_eq!((last.result.as_str(), last.generation, last.took_seconds), ("done", 4, 2.8));
    assert_eq!(last.connections.unwrap().accepted, 812);
}

#[test]
fn news_are_written_when_they_happen() {
    use std::io::Read;
    let (server, mut commands) = server();
    let mut stream = send(&server, &request("/api/v1/pools/api/reload", ""));
    let CommandRequest { reply, .. } = commands.blocking_recv().unwrap();
    let mut seen = String::new();
    let mut read_until = |text: &str| {
        while !seen.contains(text) {
            let mut some = [0; 4096];
            let length = stream.read(&mut some).unwrap();
            assert_ne!(length, 0, "{seen}");
            seen.push_str(&String::from_utf8_lossy(&some[..length]));
        }
    };
    // Each line arrives before the next update is even sent.
    reply.send(began()).unwrap();
    read_until("\"event\":\"began\"");
    reply.send(report()).unwrap();
    read_until("\"event\":\"report\"");
}

#[test]
fn client_that_disconnects_stops_no_command() {
    let (server, mut commands) = server();
    let stream = send(&server, &request("/api/v1/pools/api/reload", ""));
    let CommandRequest { reply, .. } = commands.blocking_recv().unwrap();
    drop(stream);
    // The client hangs up after a while. The task that carries the command out gets no error from that.
    wait_until("the client is gone", || reply.send(began()).is_err());
    assert_eq!(server.get("/livez").status, 200);
}

#[test]
fn refusals_are_problem_documents_with_their_status() {
    let (server, mut commands) = server();
    for (kind, status) in [
        (CommandErrorKind::NoTarget, 404),
        (CommandErrorKind::Refused, 409),
        (CommandErrorKind::Config, 422),
        (CommandErrorKind::Stopping, 503),
    ] {
        let stream = send(&server, &request("/api/v1/pools/api/reload", ""));
        answer(&mut commands, vec![CommandUpdate::Refused(CommandError::new(kind, "because").hint("do"))]);
        let reply = Reply::read(stream);
        assert_eq!((reply.status, reply.header("content-type")), (status, Some("application/problem+json")));
        assert!(reply.body.contains(r#""detail":"because","hint":"do""#), "{}", reply.body);
    }
    let stream = send(&server, &request("/api/v1/reload", ""));
    drop(commands.blocking_recv());
    assert_eq!(Reply::read(stream).status, 503, "the application is gone");
    drop(commands);
    assert_eq!(post(&server, "/api/v1/reload", "").status, 503);
}

#[test]
fn unknown_pool_is_404_with_suggestion_and_no_command() {
    let (server, mut commands) = server();
    let reply = post(&server, "/api/v1/pools/apj/reload", "");
    assert_eq!(reply.status, 404);
    assert!(reply.body.contains("no pool named `apj`") && reply.body.contains("did you mean `api`? pools: api, jobs"));
    for name in ["..", "%61pi", "%3Cscript%3E", "", &"x".repeat(500)] {
        let reply = post(&server, &format!("/api/v1/pools/{name}/reload"), "");
        assert!(reply.status == 404 && !reply.body.contains("script"), "{name}: {reply:?}");
    }
    for path in ["/api/v1/pools/api/destroy", "/api/v1/pools/api", "/api/v1/reload/", "/api/v1/pools/api/reload/x"] {
        assert!([404, 413].contains(&post(&server, path, "").status), "{path}");
    }
    assert!(commands.try_recv().is_err());
}

#[test]
fn invalid_bodies_are_refused_and_no_command_is_given() {
    let (server, mut commands) = server();
    let path = "/api/v1/pools/api/scale";
    for body in ["", "{}", "[", "{\"workers\":0}", "{\"workers\":4,\"x\":1}", &"[".repeat(60_000)] {
        let reply = post(&server, path, body);
        assert!(reply.status == 400 && reply.body.contains("the body must be"), "{reply:?}");
    }
    let large = format!("{{\"workers\":4{}}}", " ".repeat(64 * 1024));
    assert_eq!(read_refusal(send(&server, &request(path, &large))).status, 413);
    let head = format!("POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n");
    let chunk = format!("{:x}\r\n{large}\r\n0\r\n\r\n", large.len());
    let chunked = format!("{head}Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n{chunk}");
    assert_eq!(read_refusal(send(&server, &chunked)).status, 413);
    for kind in ["", "Content-Type: text/plain\r\n", "Content-Type: application/x-www-form-urlencoded\r\n"] {
        let request = format!("{head}{kind}Content-Length: 13\r\n\r\n{{\"workers\":4}}");
        assert_eq!(read_refusal(send(&server, &request)).status, 415, "{kind}");
    }
    for method in ["GET", "PUT", "DELETE"] {
        let reply = Reply::read(send(&server, &request(path, "{}").replacen("POST", method, 1)));
        assert_eq!((reply.status, reply.header("allow")), (405, Some("post")), "{method}");
    }
    assert!(commands.try_recv().is_err());
}

#[test]
fn admin_port_refuses_control_commands() {
    let (server, mut commands) = server();
    for path in ["/api/v1/reload", "/api/v1/shutdown", "/api/v1/pools/api/stop"] {
        for (body, method) in [("", "POST"), ("{}", "POST"), ("", "GET")] {
            let request = request(path, body).replacen("Host: x", "Host: localhost", 1).replacen("POST", method, 1);
            let reply = server.ask(&request);
            assert_eq!(reply.status, 403, "{path}");
            assert!(reply.body.contains("commands are taken on the control socket only"), "{reply:?}");
        }
    }
    assert!(commands.try_recv().is_err());
}

#[test]
fn commands_beyond_the_queue_limit_are_refused() {
    let (server, commands) = server();
    let waiting: Vec<_> =
        (0..crate::admin::tests::QUEUE).map(|_| send(&server, &request("/api/v1/reload", ""))).collect();
    wait_until("all in the queue", || commands.len() >= waiting.len());
    assert_eq!(post(&server, "/api/v1/reload", "").status, 409);
}
