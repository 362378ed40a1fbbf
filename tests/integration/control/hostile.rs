//! Callers that may not command the master, and requests that are no commands.

use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::process::Command;

use super::{facts, run_command, says, two_pools};
use crate::kit::{BINARY, DEADLINE, Master, has, missing, post, run_to_end};

/// The beginning of the control socket's answer to raw bytes.
#[track_caller]
fn ask(master: &Master, request: &[u8]) -> String {
    let mut stream = UnixStream::connect(&master.control).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    // The master does not read a refused request to its end.
    let _ = stream.write_all(request);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

fn request(path: &str, headers: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    let head = format!("POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {length}\r\n");
    format!("{head}{headers}\r\n{body}").into_bytes()
}

const JSON: &str = "Content-Type: application/json\r\n";

#[test]
fn admin_port_takes_no_commands() {
    let master = two_pools().start_ready();
    let before = facts(&master);
    for path in ["/api/v1/reload", "/api/v1/shutdown", "/api/v1/pools/api/stop", "/api/v1/pools/api/scale"] {
        for body in ["", "{\"now\":true}"] {
            let answer = post(master.admin(), path, body).unwrap();
            assert_eq!(answer.status, 403, "{path}: {answer:?}");
            assert!(answer.body.contains("commands are taken on the control socket only"), "{answer:?}");
        }
    }
    let by_port = format!("http://{}", master.admin());
    for args in [&["reload"][..], &["stop", "api"], &["shutdown"]] {
        let ended = run_command(&master, &[args, &["--control", &by_port]].concat());
        says(&ended, 6, &["commands are taken on the control socket only", "hint:"]);
    }
    assert_eq!(facts(&master), before);
}

#[test]
fn invalid_bodies_are_refused_and_the_next_command_is_accepted() {
    let master = two_pools().start_ready();
    let before = facts(&master);
    let path = "/api/v1/pools/api/scale";
    let large = format!("{{\"workers\":4{}}}", " ".repeat(64 * 1024));
    let deep = "[".repeat(60_000);
    for (headers, body, status) in [
        (JSON, "", 400),
        (JSON, "{\"workers\":0}", 400),
        (JSON, "{\"workers\":\"4; rm -rf /\"}", 400),
        (JSON, "{\"workers\":4,\"command\":[\"sh\"]}", 400),
        (JSON, "{\"workers\":1e400}", 400),
        (JSON, &deep, 400),
        (JSON, &large, 413),
        ("", "{\"workers\":4}", 415),
        ("Content-Type: text/plain\r\n", "{\"workers\":4}", 415),
    ] {
        let answer = ask(&master, &request(path, headers, body));
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{status}: {answer}");
    }
    // The body is announced and never sent: its connection slot is given back.
    let endless = format!("POST {path} HTTP/1.1\r\nHost: x\r\n{JSON}Content-Length: 99999999999\r\n\r\n{{");
    assert!(ask(&master, endless.as_bytes()).starts_with("HTTP/1.1 413"));
    let stuck = format!("POST {path} HTTP/1.1\r\nHost: x\r\n{JSON}Content-Length: 100\r\n\r\n{{");
    assert!(ask(&master, stuck.as_bytes()).starts_with("HTTP/1.1 408"));
    let both =
        format!("POST {path} HTTP/1.1\r\nHost: x\r\n{JSON}Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n{{}}");
    assert!(!ask(&master, both.as_bytes()).starts_with("HTTP/1.1 200"));
    for noise in [&b"\x00\xff\xfe\r\n\r\n"[..], b"POST /api/v1/shutdown\r\n\r\n", b"shutdown\n"] {
        assert!(!ask(&master, noise).starts_with("HTTP/1.1 200"));
    }
    assert_eq!(facts(&master), before);
    assert_eq!(master.ask("/livez").status, 200);
}

#[test]
fn command_of_another_user_is_refused_whatever_the_file_modes() {
    if !rustix::process::geteuid().is_root() || !has("setpriv") {
        missing("root and setpriv");
        return;
    }
    let master = two_pools().start_ready();
    let before = facts(&master);
    let mode = |path, mode| std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    // The binary must be within the other user's reach.
    let place = tempfile::tempdir().unwrap();
    mode(place.path(), 0o755);
    let copy = place.path().join("roundelay");
    std::fs::copy(BINARY, &copy).unwrap();
    mode(&copy, 0o755);
    let as_nobody = |args: &[&str]| {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(&copy).args(args);
        run_to_end(command.env("ROUNDELAY_CONTROL", &master.control).current_dir("/"))
    };
    says(&as_nobody(&["stop", "--all"]), 3, &["permission denied", "as the user that runs the master, or as root"]);
    mode(master.dir(), 0o777);
    mode(&master.control, 0o666);
    for args in [&["reload"][..], &["stop", "api"], &["scale", "api", "9"], &["shutdown", "--now"], &["list"]] {
        let ended = as_nobody(args);
        assert_eq!(ended.code, Some(1), "{args:?}: {ended:?}");
        assert_eq!(ended.stdout, "");
    }
    assert_eq!(facts(&master), before);
    master.wait_log("another user's process rejected");
    mode(master.dir(), 0o700);
}

#[test]
fn command_is_not_sent_to_another_users_program() {
    if !rustix::process::geteuid().is_root() || !crate::kit::has("python3") {
        missing("root and python3");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
    let socket = dir.path().join("c");
    // Another user's process listens on a socket that it does not own.
    let script = "import os, socket, sys\ns = socket.socket(socket.AF_UNIX)\ns.bind(sys.argv[1])\nos.setresuid(65534, 65534, 65534)\n\
                  s.listen()\nprint('ready', flush=True)\nc, _ = s.accept()\nprint(len(c.recv(100)), flush=True)\n";
    let mut python = Command::new("python3");
    python.args(["-c", script]).arg(&socket).stdout(std::process::Stdio::piped());
    let mut stranger = crate::kit::Started(python.spawn().unwrap());
    let mut out = std::io::BufReader::new(stranger.0.stdout.take().unwrap());
    let mut said = String::new();
    std::io::BufRead::read_line(&mut out, &mut said).unwrap();
    let ended = run_to_end(Command::new(BINARY).args(["shutdown"]).env("ROUNDELAY_CONTROL", &socket));
    says(&ended, 6, &["the command was not sent", "a process of another user (uid 65534) listens there"]);
    said.clear();
    std::io::BufRead::read_line(&mut out, &mut said).unwrap();
    assert_eq!(said, "0\n", "nothing was sent");
}

#[test]
fn command_is_logged_with_its_caller() {
    let master = two_pools().start_ready();
    // The answer to this command does not matter.
    let _ = ask(&master, &request("/api/v1/pools/api/stop", JSON, "{\"slots\":\"0\"}"));
    master.wait_log("control command received");
    let log = master.log();
    let line = log.lines().find(|line| line.contains("control command received")).expect(&log);
    let uid = rustix::process::geteuid().as_raw();
    for part in ["verb=\"stop\"", "pool=\"api\"", &format!("uid={uid}"), &format!("pid={}", std::process::id())] {
        assert!(line.contains(part), "{part} in {line}");
    }
}
