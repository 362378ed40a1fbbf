//! States that look like a hang and are none, or that the master must leave alone.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;

use super::{FAST, hung};
use crate::kit::{
    Master, Setup, Started, burst, for_each, freeze_workers, get, is_alive, kill, python, stays, wait_until,
};

/// Checks that no worker is killed for so long, and that clients are answered meanwhile.
#[track_caller]
fn lets_be(master: &Master, time: Duration) {
    let pids = master.pids();
    stays("nobody is killed", time, || {
        assert_eq!(burst(master.address(), "/", 4).failed, [""; 0]);
        master.pids() == pids
    });
}

#[test]
fn computing_worker_is_busy_and_keeps_its_client() {
    // The check finds it, or the heartbeat where the check only connects.
    for_each(&["/health", "tcp"], |probe| {
        let master = Setup::new(&["demo", "-i", "2", "--health", probe]).with("demo", &FAST).start_ready();
        let (address, pids) = (master.address(), master.pids());
        std::thread::scope(|scope| {
            let computing = scope.spawn(|| get(address, "/cpu/3000"));
            wait_until("it to be busy", || master.worker(0).state == "busy");
            assert_eq!(master.ask("/readyz").status, 200);
            assert_eq!(burst(address, "/", 20).starting("hello from demo/1 "), 20);
            assert_eq!(computing.join().unwrap().unwrap().body, "computed for 3000 ms\n");
        });
        master.wait_state(0, "ready");
        eventually_eq!((master.pids(), hung(&master, 0)), (pids, 0.0));
    });
}

#[test]
fn stopped_worker_without_hang_timeout_is_only_ejected() {
    let options = [&FAST[..3], &["health.hang-timeout=off", "health.busy-timeout=1s"]].concat();
    let master = Setup::new(&["demo", "-i", "2", "--health", "/health"]).with("demo", &options).start_ready();
    let frozen = freeze_workers(&master, &[0])[0];
    master.wait_state(0, "suspect");
    lets_be(&master, Duration::from_secs(4));
    kill(i64::from(frozen), "CONT");
    master.wait_state(0, "ready");
    assert!(is_alive(frozen));
    eventually_eq!(hung(&master, 0), 0.0);
}

/// Attaches to a process, stops it as a debugger does, and holds it until its standard input ends.
const DEBUGGER: &str = r#"
import ctypes, os, sys
libc, pid = ctypes.CDLL(None, use_errno=True), int(sys.argv[1])
libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
SEIZE, INTERRUPT = 0x4206, 0x4207
if libc.ptrace(SEIZE, pid, None, None) or libc.ptrace(INTERRUPT, pid, None, None):
    print(os.strerror(ctypes.get_errno()), flush=True)
    sys.exit(1)
os.waitpid(pid, 0x40000000)
print("attached", flush=True)
sys.stdin.read()
"#;

#[test]
fn worker_held_by_a_debugger_is_left_alone() {
    let Some(python) = python() else { return };
    let master = Setup::new(&["demo", "-i", "2", "--health", "/health"]).with("demo", &FAST).start_ready();
    let mut debugger = Command::new(python);
    debugger.args(["-c", DEBUGGER, &master.pids()[0].to_string()]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut debugger = Started(debugger.spawn().unwrap());
    let mut said = String::new();
    BufReader::new(debugger.0.stdout.take().unwrap()).read_line(&mut said).unwrap();
    if said != "attached\n" {
        // This is never a failure, as no package brings the right.
        return eprintln!("skipped: a process cannot be traced here: {said}");
    }
    master.wait_state(0, "suspect");
    lets_be(&master, Duration::from_secs(4));
    eventually_eq!(master.log().matches("a debugger holds it: left alone").count(), 1, "said once");
    drop(debugger);
    master.wait_state(0, "ready");
    eventually_eq!(hung(&master, 0), 0.0);
}
