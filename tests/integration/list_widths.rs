//! `roundelay list` in terminals of several widths: no line is wider than the terminal, and names, states and reasons stay.

use std::process::Command;

use unicode_width::UnicodeWidthStr;

use crate::kit::{BINARY, Master, Setup, python, run_command, run_to_end, wait_until};

/// Runs its arguments in a terminal of so many columns and prints what that was sent.
const TERMINAL: &str = r#"
import fcntl, os, pty, signal, struct, sys, termios
signal.alarm(60)
columns = int(sys.argv[1])
pid, side = pty.fork()
if pid == 0:
    # Before the program looks, whatever the other side does first.
    fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    os.execv(sys.argv[2], sys.argv[2:])
while True:
    try:
        read = os.read(side, 65536)
    except OSError:
        break
    if not read:
        break
    os.write(1, read)
_, status = os.waitpid(pid, 0)
sys.exit(os.waitstatus_to_exitcode(status))
"#;

/// A worker that says of itself what is long, and in another script.
const TALKATIVE: &str = r#"
import http.server, os, socket
status = "数据库连接失败: 无法连接到主机 db.internal:5432, it answers from its cache and tries again every ten seconds"
address = (os.environ["HOST"], int(os.environ["PORT"]))
server = http.server.ThreadingHTTPServer(address, http.server.BaseHTTPRequestHandler)
# It listens first: a check that is refused would be told in the list, too.
with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
    notify.sendto(f"STATUS={status}\nREADY=1".encode(), os.environ["NOTIFY_SOCKET"])
server.serve_forever()
"#;

/// Two pools, one of them with a long name and that worker.
fn two_pools() -> Option<Master> {
    let program = [python()?, "-c", TALKATIVE];
    let text = format!(
        "[pool.api]\ncommand = [{BINARY:?}, \"demo-worker\"]\nlisten = \"127.0.0.1:0\"\nworkers = 2\n\n\
         [pool.payments-and-settlements-eu-west]\ncommand = {program:?}\nlisten = \"127.0.0.1:0\"\nworkers = 3\n\
         ready = \"notify\"\n"
    );
    let setup = Setup::new(&["run", "-c", "pools.toml"]).without("ROUNDELAY_LISTEN");
    let master = setup.file("pools.toml", &text).start();
    wait_until("all to be ready and to have said so", || {
        let workers: Vec<_> = master.state().pools.into_iter().flat_map(|pool| pool.workers).collect();
        let talkative = workers.iter().filter(|worker| worker.status_text.is_some()).count();
        workers.iter().all(|worker| worker.state == "ready") && (workers.len(), talkative) == (5, 3)
    });
    Some(master)
}

/// The lines of `list` in a terminal of so many columns, without their colours.
#[track_caller]
fn lines_in(master: &Master, columns: usize) -> Vec<String> {
    let mut terminal = Command::new(python().unwrap());
    terminal.args(["-c", TERMINAL, &columns.to_string(), BINARY, "list"]);
    terminal.env("ROUNDELAY_CONTROL", &master.control).env("TERM", "xterm").env_remove("NO_COLOR");
    let ended = run_to_end(&mut terminal);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.stdout.contains("\u{1b}["), "in colours: {ended:?}");
    let plain = anstream::adapter::strip_str(&ended.stdout).to_string();
    plain.lines().map(str::to_owned).collect()
}

#[test]
fn list_fits_every_terminal_width_and_keeps_key_columns() {
    let Some(master) = two_pools() else { return };
    for columns in [200, 80, 60, 40, 20] {
        let lines = lines_in(&master, columns);
        let text = lines.join("\n");
        assert!(lines.iter().all(|line| line.width() <= columns), "{columns}:\n{text}");
        // Two pools and five workers, each with its name and its state.
        let rows = lines.iter().filter(|line| line.contains("ready")).count();
        assert_eq!(rows, 7, "{columns}:\n{text}");
        assert!(lines.iter().any(|line| line.trim_start().starts_with("api/1")), "{columns}:\n{text}");
        assert!(columns < 80 || text.contains("RESTARTS"), "{columns}:\n{text}");
        assert_eq!(text.matches("数据库").count(), 3, "{columns}:\n{text}");
    }
}

#[test]
fn list_without_a_terminal_cuts_nothing() {
    let Some(master) = two_pools() else { return };
    let list = run_command(&master, &["list"]).stdout;
    assert_eq!(list.lines().count(), 8, "a line each: {list}");
    assert_eq!(
        list.matches("  says: 数据库连接失败: 无法连接到主机 db.internal:5432, it answers").count(),
        3,
        "{list}"
    );
    assert_eq!(list.matches("every ten seconds\n").count(), 3, "{list}");
    assert_eq!(list.matches("payments-and-settlements-eu-west").count(), 4, "{list}");
}
