//! A master whose terminal is closed stops, and leaves nothing behind.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use crate::kit::{BINARY, Started, command_line, get_unix, is_alive, kill, marked, python, wait_until};

/// Starts its arguments in a terminal of their own, tells the pid, and closes the terminal when its standard input ends.
const TERMINAL: &str = r#"
import os, pty, select, signal, sys
signal.alarm(60)
pid, side = pty.fork()
if pid == 0:
    os.execv(sys.argv[1], sys.argv[1:])
print(pid, flush=True)
while True:
    ready = select.select([0, side], [], [])[0]
    if 0 in ready:
        break
    os.read(side, 65536)
os.close(side)
print("closed", flush=True)
_, status = os.waitpid(pid, 0)
print(os.waitstatus_to_exitcode(status), flush=True)
"#;

/// A master that is no child of this process. Killed when dropped, if it has not ended.
struct Detached(u32);

impl Drop for Detached {
    fn drop(&mut self) {
        if command_line(self.0).first().is_some_and(|program| program == BINARY) {
            kill(i64::from(self.0), "KILL");
        }
    }
}

#[test]
fn a_terminal_that_closes_stops_the_master_and_nothing_is_left() {
    let Some(python) = python() else { return };
    let folder = tempfile::tempdir().unwrap();
    let control = folder.path().join("c");
    let mark = folder.path().display().to_string();
    let mut terminal = Command::new(python);
    terminal.args(["-c", TERMINAL, BINARY, "demo", "-i", "2", "-l", "127.0.0.1:0", "--admin", "127.0.0.1:0"]);
    terminal.env("ROUNDELAY_CONTROL", &control).env("TEST_FOLDER", &mark).env_remove("NOTIFY_SOCKET");
    terminal.current_dir(folder.path()).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut terminal = Started(terminal.spawn().unwrap());
    let mut said = BufReader::new(terminal.0.stdout.take().unwrap()).lines().map(Result::unwrap);
    let master = Detached(said.next().unwrap().parse().unwrap());
    wait_until("its workers", || get_unix(&control, "/readyz").is_ok_and(|answer| answer.status == 200));

    drop(terminal.0.stdin.take());
    assert_eq!(said.next().as_deref(), Some("closed"));
    assert_eq!(said.next().as_deref(), Some("0"), "a stop by signal is a clean one");
    assert!(!is_alive(master.0));
    wait_until("nothing left behind", || {
        let left = marked(&format!("TEST_FOLDER={mark}"));
        left.into_iter().all(|pid| pid == terminal.0.id())
    });
    assert!(!control.exists());
}
