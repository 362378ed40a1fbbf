//! Routes, listeners and limits.

use std::process::{Command, Stdio};
use std::sync::atomic::Ordering;

use super::*;
use crate::api::state::State;

#[test]
fn every_route_answers_on_both_doors() {
    let server = Server::start(vec![pool("api")]);
    for (path, kind) in [
        ("/", "text/html; charset=utf-8"),
        ("/style.css", "text/css; charset=utf-8"),
        ("/livez", "text/plain; charset=utf-8"),
        ("/readyz", "text/plain; charset=utf-8"),
        ("/metrics", "text/plain; version=0.0.4; charset=utf-8"),
        ("/api/v1/state", "application/json"),
        ("/livez?verbose", "text/plain; charset=utf-8"),
    ] {
        for reply in [server.get(path), get_at(&server.control, path)] {
            assert_eq!((reply.status, reply.header("content-type")), (200, Some(kind)), "{path}");
            assert!(!reply.body.is_empty(), "{path}");
            assert_eq!(reply.header("x-content-type-options"), Some("nosniff"));
            assert_eq!(reply.header("cache-control"), Some("no-store"));
            assert!(reply.header("content-security-policy").unwrap().starts_with("default-src 'none'"));
        }
    }
}

#[test]
fn head_has_the_headers_of_get_and_no_body() {
    let server = Server::start(vec![pool("api")]);
    let get = server.get("/livez");
    let head = server.ask("HEAD /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    assert_eq!((head.status, head.body.as_str()), (200, ""));
    assert_eq!(head.header("content-length"), get.header("content-length"));
}

#[test]
fn other_methods_are_told_which_ones_there_are() {
    let server = Server::start(vec![pool("api")]);
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "PATCH", "WHATEVER"] {
        let reply = server.ask(&format!("{method} /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"));
        assert_eq!((reply.status, reply.header("allow")), (405, Some("get, head")), "{method}");
    }
}

#[test]
fn unknown_paths_are_a_problem_that_repeats_nothing() {
    let server = Server::start(vec![pool("api")]);
    for path in ["/script", "/metrics/", "//metrics", "/METRICS", "/livez/..", "/api/v1", "/%6detrics"] {
        let reply = server.get(path);
        assert_eq!((reply.status, reply.header("content-type")), (404, Some("application/problem+json")), "{path}");
        let problem: serde_json::Value = serde_json::from_str(&reply.body).unwrap();
        assert_eq!(problem["status"], 404);
        assert!(!reply.body.contains("script"), "{}", reply.body);
    }
}

#[test]
fn admin_port_answers_only_to_its_address() {
    let server = Server::start(vec![pool("api")]);
    let ask = |version: &str, target: &str, hosts: &[&str]| {
        let hosts: String = hosts.iter().map(|host| format!("Host: {host}\r\n")).collect();
        server.ask(&format!("GET {target} HTTP/{version}\r\n{hosts}Connection: close\r\n\r\n")).status
    };
    assert_eq!(ask("1.1", "/livez", &["localhost:1"]), 200);
    assert_eq!(ask("1.1", "/livez", &["[::1]:1"]), 200);
    assert_eq!(ask("1.0", "/livez", &[]), 200);
    assert_eq!(ask("1.1", "/livez", &["rebound.example"]), 403);
    assert_eq!(ask("1.1", "/nothing", &["rebound.example"]), 403);
    assert_eq!(ask("1.1", "/livez", &["localhost", "localhost"]), 403);
    assert_eq!(ask("1.1", "/livez", &[]), 403);
    assert_eq!(ask("1.1", "http://rebound.example/livez", &["localhost"]), 403);
}

#[test]
fn requests_with_a_body_end_the_connection() {
    let server = Server::start(vec![pool("api")]);
    for framing in ["Content-Length: 99999999999", "Transfer-Encoding: chunked"] {
        let reply = server.ask(&format!("POST /api/v1/state HTTP/1.1\r\nHost: localhost\r\n{framing}\r\n\r\n"));
        assert_eq!((reply.status, reply.header("connection")), (413, Some("close")), "{framing}");
    }
}

#[test]
fn ready_follows_the_workers_and_the_stop() {
    let server = Server::start(vec![pool("api"), pool("jobs")]);
    assert_eq!(server.get("/readyz").status, 200);

    publish(&server.pools[1], |status| status.workers[0].state = SlotState::Suspect);
    let reply = server.get("/readyz");
    assert_eq!(reply.status, 503);
    assert_eq!(reply.body, "pool jobs: down, 0 of 2 workers ready, 1 needed (1 suspect, 1 backoff)\n");

    publish(&server.pools[1], |status| status.workers[0].state = SlotState::Ready);
    assert_eq!(server.get("/readyz").status, 200);

    publish(&server.pools[0], |status| status.is_stopping = true);
    assert_eq!(server.get("/readyz").status, 503);
    publish(&server.pools[0], |status| status.is_stopping = false);
    server.is_stopping.store(true, Ordering::SeqCst);
    let reply = server.get("/readyz");
    assert_eq!((reply.status, reply.body.as_str()), (503, "the master is stopping\n"));
    assert_eq!(server.get("/livez").status, 200);
}

#[test]
fn state_shows_the_status_that_the_supervisor_published() {
    let server = Server::start(vec![pool("jobs"), pool("api")]);
    let state: State = serde_json::from_str(&server.get("/api/v1/state").body).unwrap();
    assert_eq!((state.schema.as_str(), state.version.as_str()), (State::SCHEMA, "1.2.3"));
    assert_eq!((state.pid, state.is_ready, state.is_stopping), (std::process::id(), true, false));
    assert_eq!(state.admin, Some(server.port.to_string()));
    assert_eq!(state.pools.iter().map(|pool| pool.name.as_str()).collect::<Vec<_>>(), ["api", "jobs"]);
    let pool = &state.pools[0];
    assert_eq!((pool.workers_ready, pool.workers_desired, pool.accept_state.as_str()), (1, 2, "open"));
    let (ready, failing) = (&pool.workers[0], &pool.workers[1]);
    assert_eq!((ready.state.as_str(), failing.state.as_str()), ("ready", "backoff"));
    assert!(ready.memory_bytes.is_some_and(|bytes| bytes > 0) && ready.up_seconds.is_some());
    assert_eq!((failing.memory_bytes, failing.cpu_seconds, failing.up_seconds), (None, None, None));
    assert_eq!(failing.backoff_seconds, Some(1.5));
    let exit = failing.last_exit.as_ref().unwrap();
    assert_eq!((exit.what.as_str(), exit.code), ("exit code 3", 3));
    assert_eq!(exit.last_lines, ["boom: missing DATABASE_URL"]);
}

#[test]
fn client_with_slow_headers_is_cut_and_blocks_no_other() {
    let server = Server::start(vec![pool("api")]);
    let mut slow = server.connect();
    slow.write_all(b"GET /livez HTTP/1.1\r\nHost: loc").unwrap();
    for _ in 0..20 {
        assert_eq!(server.get("/livez").status, 200);
    }
    // The server may answer 408 or just close; either way within the read timeout that `connect` sets.
    let mut rest = Vec::new();
    slow.read_to_end(&mut rest).unwrap();
    assert!(!rest.starts_with(b"HTTP/1.1 200"));
}

#[test]
fn more_clients_than_places_are_all_served() {
    let server = Server::start(vec![pool("api")]);
    let mut clients: Vec<_> = (0..super::super::server::MAX_CONNECTIONS + 8).map(|_| server.connect()).collect();
    let request = format!("GET /livez HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", server.port);
    for client in &mut clients {
        client.write_all(request.as_bytes()).unwrap();
    }
    // Begins with the last client: it got the permit that an earlier client gave back.
    for client in clients.into_iter().rev() {
        assert_eq!(Reply::read(client).status, 200);
    }
}

#[test]
fn oversized_heads_are_refused() {
    let server = Server::start(vec![pool("api")]);
    let many: String = (0..65).map(|i| format!("X-{i}: y\r\n")).collect();
    let large = format!("X: {}\r\n", "y".repeat(17 * 1024));
    for headers in [many, large] {
        let stream = server.connect();
        let _ = (&stream).write_all(format!("GET /livez HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n").as_bytes());
        let mut answer = Vec::new();
        // Bytes that we sent and the server did not read make the kernel reset the connection: no answer is fine, too.
        let _ = (&stream).read_to_end(&mut answer);
        assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 431"), "{}", String::from_utf8_lossy(&answer));
    }
    assert_eq!(server.get("/livez").status, 200);
}

#[test]
fn client_that_half_closes_still_gets_the_answer() {
    let server = Server::start(vec![pool("api")]);
    let stream = server.connect();
    (&stream).write_all(b"GET /livez HTTP/1.0\r\n\r\n").unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(Reply::read(stream).status, 200);
}

#[test]
fn stop_ends_idle_connections_and_the_server() {
    let mut server = Server::start(vec![pool("api")]);
    let mut idle = server.connect();
    assert_eq!(server.get("/livez").status, 200);
    server.finish();
    let mut rest = Vec::new();
    idle.read_to_end(&mut rest).unwrap();
    assert!(rest.is_empty());
}

/// The mode of the socket keeps other users out; this test is about the check behind it.
#[test]
fn another_user_is_turned_away_even_if_the_modes_allow_it() {
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::process::CommandExt;

    if !rustix::process::geteuid().is_root() || !Path::new("/usr/bin/curl").exists() {
        println!("skipped: needs root and curl");
        return;
    }
    let server = Server::start(vec![pool("api")]);
    let ask_as = |uid| {
        let mut curl = Command::new("/usr/bin/curl");
        curl.args(["-sS", "--max-time", "20", "--unix-socket"]).arg(&server.control).arg("http://localhost/livez");
        curl.uid(uid).gid(uid).current_dir("/").stdin(Stdio::null()).output().unwrap()
    };
    let folder = server.control.parent().unwrap();
    assert_eq!(ask_as(65534).status.code(), Some(7), "cannot connect");
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o755)).unwrap();
    assert_eq!(ask_as(65534).status.code(), Some(7), "cannot connect");
    std::fs::set_permissions(&server.control, std::fs::Permissions::from_mode(0o666)).unwrap();
    let reply = ask_as(65534);
    assert!(!reply.status.success() && reply.stdout.is_empty(), "{reply:?}");
    assert!(ask_as(0).status.success());
}
