//! Signals that the parent process ignored or blocked harm neither the master's end nor its workers.

use crate::kit::{Setup, is_alive, kill, python, shell, signals, wait_until};

/// Ignores and blocks signals, then executes the rest of its words.
const STARTER: &str = "
import os, signal, sys
ignored, blocked = ([getattr(signal, name) for name in word.split()] for word in sys.argv[1:3])
for number in ignored:
    signal.signal(number, signal.SIG_IGN)
signal.pthread_sigmask(signal.SIG_BLOCK, blocked)
os.execv(sys.argv[3], sys.argv[3:])
";

#[test]
fn blocked_sigterm_is_unblocked_for_master_and_workers() {
    let Some(python) = python() else { return };
    let starter = [python, "-c", STARTER, "", "SIGTERM SIGINT SIGHUP SIGUSR2 SIGCHLD"];
    let mut master = Setup::new(&["demo", "-i", "2"]).through(&starter).start_ready();
    for pid in master.pids() {
        assert_eq!(signals(pid, "SigBlk"), 0);
    }
    master.signal("TERM");
    assert_eq!(master.wait_end().code(), Some(0));
}

#[test]
fn ignored_signals_stay_ignored_and_workers_get_theirs() {
    let Some(python) = python() else { return };
    let starter = [python, "-c", STARTER, "SIGTERM SIGHUP SIGINT SIGCHLD SIGUSR1", ""];
    let setup = Setup::app(&["-i", "1", "--set", "pool.app.ready=none"], &shell("exec sleep 1000"));
    let setup = setup.arg("").through(&starter).env("ROUNDELAY_SET", "pool.app.health.probe=none");
    let mut master = setup.start_ready();
    let worker = master.pids()[0];
    // 32 and 33 are the C library's own.
    assert_eq!(signals(worker, "SigIgn") & !(0b11 << 31), 0);
    // The exit code of a worker is known: SIGCHLD is not ignored.
    kill(i64::from(worker), "TERM");
    master.wait_log("SIGTERM");
    wait_until("the next worker", || master.pids().first().is_some_and(|&pid| pid != worker && is_alive(pid)));
    for signal in ["TERM", "INT", "HUP"] {
        master.signal(signal);
    }
    let ended = crate::kit::run_command(&master, &["shutdown"]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(master.wait_end().code(), Some(0));
    let log = master.log();
    assert_eq!(log.matches("signal was ignored at the start and stays ignored").count(), 3, "{log}");
    assert!(!log.contains("stopping: finishing") && !log.contains("reading the configuration again"), "{log}");
}
