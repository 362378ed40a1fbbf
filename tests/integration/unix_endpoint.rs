//! `--endpoint unix`: `PORT` is a path, a new one for each process.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::kit::{Master, Setup, burst, environment, express, has, is_alive, kill, python, variable, wait_until};

fn demo(flags: &[&str]) -> Setup {
    Setup::new(&[&["demo", "--endpoint", "unix"], flags].concat())
}

/// The value of `PORT` in that slot's worker.
#[track_caller]
fn path(master: &Master, slot: usize) -> PathBuf {
    let worker = master.worker(slot);
    let path = PathBuf::from(variable(&environment(worker.pid.unwrap()), "PORT"));
    assert_eq!(worker.endpoint, Some(format!("unix:{}", path.display())));
    path
}

fn run_folder(path: &Path) -> &Path {
    path.parent().unwrap()
}

#[test]
fn three_workers_on_paths_get_400_of_1200_connections_each() {
    let master = demo(&["-i", "3"]).start_ready();
    let burst = burst(master.address(), "/", 1200);
    let answered = [0, 1, 2].map(|slot| burst.starting(&format!("hello from demo/{slot} ")));
    assert_eq!((answered, burst.failed.len()), ([400; 3], 0), "{:?}", burst.failed);
}

#[test]
fn each_process_has_its_own_path_in_a_private_folder() {
    let mut master = demo(&["-i", "2"]).start_ready();
    let [first, second] = [0, 1].map(|slot| path(&master, slot));
    assert_ne!(first, second);
    let folder = run_folder(&first);
    assert_eq!(folder, run_folder(&second));
    assert_eq!(folder.metadata().unwrap().permissions().mode() & 0o777, 0o700);

    let dead = master.kill_worker(0);
    wait_until("a successor", || master.worker(0).pid.is_some_and(|pid| pid != dead));
    master.wait_state(0, "ready");
    let replacements = path(&master, 0);
    assert_ne!(replacements, first);
    eventually!(replacements.exists() && !first.exists(), "a killed worker cannot remove its own");
    assert_eq!(path(&master, 1), second);
    assert_eq!(burst(master.address(), "/", 20).failed, [""; 0]);

    master.signal("TERM");
    assert_eq!(master.wait_end().code(), Some(0));
    assert!(!folder.exists());
}

#[test]
fn leftovers_of_a_killed_master_are_removed_by_the_next_one() {
    let runtime = tempfile::tempdir().unwrap();
    let start = || demo(&["-i", "1"]).env("XDG_RUNTIME_DIR", runtime.path().to_str().unwrap()).start_ready();
    let first = start();
    let left = path(&first, 0);
    assert_eq!(run_folder(run_folder(&left)), runtime.path());
    kill(i64::from(first.pid()), "KILL");
    // The dead master must be reaped, or its pid would still be taken.
    drop(first);
    assert!(left.exists(), "nobody was there to remove it");
    let second = start();
    eventually!(!run_folder(&left).exists());
    assert!(path(&second, 0).exists());
}

#[test]
fn express_app_and_its_health_checks_use_a_path() {
    let Some(app) = express() else { return };
    let flags = ["-i", "2", "--endpoint", "unix", "--health", "/health", "--set", "pool.app.health.interval=200ms"];
    let flags = [&flags[..], &["--set", "pool.app.health.timeout=200ms"]].concat();
    let master = Setup::app(&flags, &["node", app]).start_ready();
    let burst = burst(master.address(), "/", 40);
    let answered = [0, 1].map(|slot| burst.starting(&format!("hello from express/{slot} ")));
    assert_eq!((answered, burst.failed.len()), ([20, 20], 0), "{burst:?}");
    let checks = |slot: usize, result: &str| {
        let labels = [format!("worker=\"{slot}\""), format!("result=\"{result}\"")];
        master.metric("roundelay_health_checks_total", &labels.each_ref().map(String::as_str))
    };
    wait_until("two good health checks of each", || [0, 1].iter().all(|&slot| checks(slot, "ok") >= 2.0));
    eventually_eq!([0, 1].map(|slot| checks(slot, "fail")), [0.0; 2]);
}

#[test]
fn program_that_cannot_listen_on_a_path_is_reported() {
    if !has("socat") {
        return;
    }
    let flags = ["-i", "1", "--endpoint", "unix", "--set", "pool.app.ready-timeout=6s"];
    let ended = Setup::app(&flags, &["socat", "TCP4-LISTEN:0,bind=0.0.0.0,fork", "SYSTEM:true"]).run_to_end();
    assert_eq!(ended.code, Some(1));
    let told = ended.stderr.lines().find(|line| line.contains("WARN") && line.contains("your program listens on"));
    let cause = ended.stderr.lines().find(|line| line.starts_with("cause:"));
    for told in [told, cause] {
        let told = told.unwrap_or_else(|| panic!("{}", ended.stderr));
        let (_, after) = told.split_once("your program listens on 0.0.0.0:").unwrap_or_else(|| panic!("{told}"));
        let after = after.trim_start_matches(|c: char| c.is_ascii_digit());
        assert!(after.starts_with(", not on the path in $PORT (/"), "{told}");
        assert!(after.contains("endpoint = \"port\""), "{told}");
    }
}

/// Slot 0 listens and never accepts, and one connection of its own fills its queue. The other slot answers.
const DEAF: &str = r#"
import os, signal, socket
slot = os.environ["ROUNDELAY_WORKER"]
server = socket.socket(socket.AF_UNIX)
server.bind(os.environ["PORT"])
server.listen(0 if slot == "0" else 128)
if slot == "0":
    filler = socket.socket(socket.AF_UNIX)
    filler.connect(os.environ["PORT"])
with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
    notify.sendto(b"READY=1", os.environ["NOTIFY_SOCKET"])
while slot == "0":
    signal.pause()
while True:
    client, _ = server.accept()
    with client:
        request = b""
        while not request.endswith(b"\r\n\r\n"):
            request += client.recv(65536)
        client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nanswered\n")
"#;

#[test]
fn worker_with_a_full_queue_gets_no_client() {
    let Some(python) = python() else { return };
    let flags = ["-i", "2", "--endpoint", "unix", "--ready", "notify", "--health", "none"];
    let master = Setup::app(&flags, &[python, "-c", DEAF]).start_ready();
    let burst = burst(master.address(), "/", 40);
    assert_eq!((burst.starting("answered"), burst.failed.len()), (40, 0), "{burst:?}");
    eventually!(master.metric("roundelay_worker_connect_errors_total", &["worker=\"0\""]) > 0.0);
    eventually_eq!(master.metric("roundelay_worker_connect_errors_total", &["worker=\"1\""]), 0.0);
    eventually!(master.pids().into_iter().all(is_alive));
}
