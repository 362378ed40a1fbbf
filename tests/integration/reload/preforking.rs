//! A preforking server listens before its application is imported: a release that fails to import must not replace anything.

use crate::kit::{Master, Setup, for_each, get, has, run_command, running_command, says, wait_until};

/// An application that takes a while to import, and fails once a file `broken` exists.
const PYTHON: &str = r#"
import os
import time

time.sleep(0.7)
if os.path.exists("broken"):
    raise ImportError("a forgotten dependency")


def app(environ, start_response):
    body = b"%d" % os.getppid()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]
"#;

/// The same application in Ruby.
const RUBY: &str = r#"
sleep 0.7
raise LoadError, "a forgotten dependency" if File.exist?("broken")
run ->(_) { [200, {}, [Process.ppid.to_s]] }
"#;

const GUNICORN: [&str; 6] = ["gunicorn", "--workers", "1", "--bind", "127.0.0.1:{port}", "late:app"];
const PUMA: [&str; 8] = ["puma", "-q", "-w", "2", "-b", "tcp://127.0.0.1:{port}", "-t", "1:1"];

fn start(command: &[&str], options: &[&str]) -> Option<Master> {
    if !has(command[0]) {
        return None;
    }
    let setup = Setup::app(&["-i", "1"], command).file("late.py", PYTHON).file("config.ru", RUBY);
    Some(setup.with("app", options).start_ready())
}

/// The pid of the server's first process, as the application sees it.
fn serving(master: &Master) -> String {
    get(master.address(), "/").unwrap().body
}

#[test]
fn broken_release_of_a_preforking_server_changes_nothing() {
    // Some of these never end, and a busy machine needs seconds for the good start.
    let options = [&["ready-timeout=12s"][..], &["ready-timeout=12s", "health.probe=/"]];
    let cases: Vec<_> =
        [&GUNICORN[..], &PUMA].into_iter().flat_map(|command| options.map(|one| (command, one))).collect();
    for_each(&cases, |&(command, options)| {
        let Some(master) = start(command, options) else { return };
        let (pids, before) = (master.pids(), serving(&master));
        master.touch("broken");
        says(&run_command(&master, &["reload"]), 1, &["reload of app failed; generation 1 keeps serving"]);
        at_once_eq!((master.pids(), serving(&master)), (pids, before));
    });
}

#[test]
fn good_release_of_a_preforking_server_delays_no_client() {
    for command in [&GUNICORN[..], &PUMA] {
        let Some(master) = start(command, &[]) else { continue };
        let before = serving(&master);
        let reload = running_command(&master, &["reload"]);
        let mut meanwhile = 0;
        wait_until("the new one to serve", || {
            meanwhile += u32::from(!reload.is_finished());
            serving(&master) != before
        });
        assert!(meanwhile > 10, "clients were answered while the new one was imported: {meanwhile}");
        assert_eq!(reload.join().unwrap().code, Some(0));
    }
}
