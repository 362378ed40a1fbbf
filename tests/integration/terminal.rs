//! A master whose terminal is closed stops and leaves nothing behind. A master that ignores SIGHUP goes on.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{ChildStdout, Command, Stdio};

use tempfile::TempDir;

use crate::kit::{
    BINARY, Started, command_line, get_unix, is_alive, kill, marked, python, run_to_end, signals, wait_until,
};

/// Starts its arguments in a terminal of their own, prints the pid, and closes the terminal when its standard input
/// ends.
const TERMINAL: &str = r#"
import os, pty, select, signal, sys
signal.alarm(60)
pid, side = pty.fork()
if pid == 0:
    os.execv(sys.argv[1], sys.argv[1:])
print(pid, flush=True)
watched = [0, side]
while True:
    ready = select.select(watched, [], [])[0]
    if 0 in ready:
        break
    try:
        os.read(side, 65536)
    except OSError:
        # Nobody has the other side open any more: nohup wrote elsewhere.
        watched = [0]
os.close(side)
print("closed", flush=True)
_, status = os.waitpid(pid, 0)
print(os.waitstatus_to_exitcode(status), flush=True)
"#;

/// A master that is no child of this process. It is killed when dropped, if it has not ended.
struct Detached(u32);

impl Drop for Detached {
    fn drop(&mut self) {
        if command_line(self.0).first().is_some_and(|program| program == BINARY) {
            kill(i64::from(self.0), "KILL");
        }
    }
}

/// A master of two demo workers that runs in a terminal, through a command such as `nohup`.
struct InTerminal {
    terminal: Started,
    said: std::io::Lines<BufReader<ChildStdout>>,
    master: Detached,
    control: PathBuf,
    folder: TempDir,
}

impl InTerminal {
    /// Starts it and waits until its workers are ready; `None` without Python.
    fn start(wrapper: &[&str]) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let control = folder.path().join("c");
        let mut terminal = Command::new(python()?);
        terminal.args(["-c", TERMINAL, "/usr/bin/env", "--default-signal"]).args(wrapper);
        terminal.args([BINARY, "demo", "-i", "2", "-l", "127.0.0.1:0", "--admin", "127.0.0.1:0"]);
        terminal.env("ROUNDELAY_CONTROL", &control).env("TEST_FOLDER", folder.path()).env_remove("NOTIFY_SOCKET");
        terminal.current_dir(folder.path()).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut terminal = Started(terminal.spawn().unwrap());
        let mut said = BufReader::new(terminal.0.stdout.take().unwrap()).lines();
        let master = Detached(said.next().unwrap().unwrap().parse().unwrap());
        let started = Self { terminal, said, master, control, folder };
        started.wait_ready();
        Some(started)
    }

    fn wait_ready(&self) {
        wait_until("its workers", || get_unix(&self.control, "/readyz").is_ok_and(|answer| answer.status == 200));
    }

    fn close(&mut self) {
        drop(self.terminal.0.stdin.take());
        assert_eq!(self.next_line().as_deref(), Some("closed"));
    }

    fn next_line(&mut self) -> Option<String> {
        self.said.next().map(Result::unwrap)
    }

    fn wait_nothing_left(&self) {
        wait_until("nothing left behind", || {
            let left = marked(&format!("TEST_FOLDER={}", self.folder.path().display()));
            left.into_iter().all(|pid| pid == self.terminal.0.id())
        });
        assert!(!self.control.exists());
    }
}

#[test]
fn closed_terminal_stops_the_master_and_leaves_nothing() {
    let Some(mut started) = InTerminal::start(&[]) else { return };
    started.close();
    assert_eq!(started.next_line().as_deref(), Some("0"), "a stop by signal is a clean one");
    assert!(!is_alive(started.master.0));
    started.wait_nothing_left();
}

#[test]
fn nohup_master_outlives_its_terminal_and_reloads() {
    let Some(mut started) = InTerminal::start(&["/usr/bin/nohup"]) else { return };
    started.close();
    let reload = |code| {
        let mut reload = Command::new(BINARY);
        reload.arg("reload").env("ROUNDELAY_CONTROL", &started.control).current_dir(started.folder.path());
        let ended = run_to_end(&mut reload);
        assert_eq!(ended.code, Some(code), "{ended:?}");
    };
    reload(0);
    let first = signals(started.master.0, "SigIgn");
    kill(i64::from(started.master.0), "HUP");
    reload(0);
    assert_eq!((first & 1, first), (1, signals(started.master.0, "SigIgn")), "SIGHUP stays ignored");
    started.wait_ready();
    kill(i64::from(started.master.0), "TERM");
    assert_eq!(started.next_line().as_deref(), Some("0"));
    started.wait_nothing_left();
}
