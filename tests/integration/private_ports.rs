//! A private port that another process took gets none of the worker's clients.

use std::path::PathBuf;

use crate::kit::{BINARY, Master, Setup, burst, has, is_alive, is_root, kill, python, shell, wait_for, wait_until};

/// Servers that are not in a worker's process group. Killed when dropped, which must come before the master's end.
struct Strangers(PathBuf);

impl Strangers {
    fn of(master: &Master) -> Self {
        Self(master.dir().join("stranger"))
    }

    fn pids(&self) -> Vec<u32> {
        let text = std::fs::read_to_string(&self.0).unwrap_or_default();
        text.lines().map(|line| line.parse().unwrap()).collect()
    }
}

impl Drop for Strangers {
    fn drop(&mut self) {
        self.pids().into_iter().filter(|&pid| is_alive(pid)).for_each(|pid| kill(i64::from(pid), "KILL"));
    }
}

/// Runs the demo worker as a user that is neither root nor the pool's, and so cannot say READY=1 for the worker.
const AS_ANOTHER: [&str; 8] =
    ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "env", "-u", "NOTIFY_SOCKET", BINARY];

/// Starts that server once, runs `then`, and sleeps; a second start is the demo worker itself.
fn stranger_first(then: &str) -> String {
    let words = AS_ANOTHER.join(" ");
    format!(
        "if test -e stranger; then exec '{BINARY}' demo-worker; fi\n\
         setsid {words} demo-worker & echo $! > stranger\n{then}\nexec sleep 600"
    )
}

/// While this runs the other user's process has the port. It ends by saying that the worker is ready.
const SAY_READY: &str = r#"
import os, socket, time
address = (os.environ["HOST"], int(os.environ["PORT"]))
while socket.socket().connect_ex(address):
    time.sleep(0.01)
socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(b"READY=1", os.environ["NOTIFY_SOCKET"])
"#;

#[test]
fn port_of_another_user_is_named_and_never_used() {
    if !is_root() || !has("setpriv") {
        return;
    }
    let Some(python) = python() else { return };
    let says_ready = stranger_first(&format!("'{python}' -c '{SAY_READY}'"));
    for (script, ready) in [(stranger_first(""), "probe"), (says_ready, "notify")] {
        // The stranger is our own child here, and would be ended with the worker that left it.
        let setup = Setup::app(&["-i", "1", "--ready", ready], &shell(&script)).with("app", &["background=keep"]);
        let master = setup.start_ready();
        let strangers = Strangers::of(&master);
        master.wait_log("worker ready");
        let log = master.log();
        assert!(log.contains("private port is held by another user") && log.contains("uid=65534"), "{ready}");
        assert_eq!(log.matches("worker ready").count(), 1, "{ready}");
        let stranger = strangers.pids()[0];
        assert!(is_alive(stranger) && log.contains(&format!("process {stranger} ")), "{ready}");
        let served = burst(master.address(), "/", 20);
        assert_eq!((served.starting("hello from app/"), served.failed), (20, vec![]), "{ready}");
    }
}

#[test]
fn worker_whose_port_was_taken_later_is_replaced() {
    if !is_root() || !has("setpriv") {
        return;
    }
    let Some(python) = python() else { return };
    let program =
        [&[python, "-c", include_str!("private_ports/closer.py")], &AS_ANOTHER[..], &["demo-worker"]].concat();
    // Without a duplicate its port is free as soon as it closes its listener.
    let setup = Setup::app(&["-i", "1"], &program).with("app", &["recover-queue=false", "background=keep"]);
    let mut master = setup.start_ready();
    let strangers = Strangers::of(&master);
    master.touch("close");
    master.wait_log("private port is held by another user");
    let first = strangers.pids();
    wait_until("another process", || master.state().pools[0].workers_ready == 1);
    master.wait_all_ready();
    let served = burst(master.address(), "/", 20);
    assert_eq!((served.starting("worker"), served.failed), (20, vec![]));
    assert!(first.iter().all(|&pid| is_alive(pid)), "the stranger is left alone");
}

#[test]
fn port_stays_the_workers_as_long_as_it_lives() {
    if !is_root() || !has("setpriv") {
        return;
    }
    let Some(python) = python() else { return };
    let program =
        [&[python, "-c", include_str!("private_ports/closer.py")], &AS_ANOTHER[..], &["demo-worker"]].concat();
    let setup = Setup::app(&["-i", "1", "--health", "none"], &program);
    let master = setup.start_ready();
    let _strangers = Strangers::of(&master);
    master.touch("close");
    wait_until("the other user to be refused", || master.dir().join("refused").exists());
}

#[test]
fn listener_outside_the_process_group_is_used_and_reported_once() {
    let script = format!("setsid '{BINARY}' demo-worker & echo $! >> stranger\nexec sleep 600");
    let setup = Setup::app(&["-i", "2"], &shell(&script));
    let master = setup.start_ready();
    let _strangers = Strangers::of(&master);
    let log = wait_for("the word", || Some(master.log()).filter(|log| log.contains("held outside of the worker's")));
    assert_eq!(log.matches("held outside of the worker's").count(), 1, "{log}");
    assert_eq!(burst(master.address(), "/", 20).failed, [""; 0]);
}
