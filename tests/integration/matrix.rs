//! Every way of distribution with every kind of worker: it works, or the master says why not and what to use.
//!
//! | | proxy, port | proxy, unix | proxy, inherited | handoff | shared | reuseport |
//! |---|---|---|---|---|---|---|
//! | made with worker-runtime | yes | yes | yes | yes | yes | yes |
//! | listens on `$PORT` | yes | yes | told | told | told | told |
//! | accepts on descriptor 3 (LISTEN_FDS) | ends | ends | yes | ends | yes | yes |
//! | unmodified Node application | yes | yes | told | yes | yes | told |

use crate::kit::{BINARY, Setup, burst, free_address, has, python};

use Cell::{Ends, Told, Works};

/// The result of a kind of worker in a mode.
#[derive(Clone, Copy)]
enum Cell {
    /// The worker serves.
    Works,
    /// The master sees the program listen elsewhere. It prints what the program must do in this mode, and which mode
    /// to use instead.
    Told(&'static str),
    /// The program ends by itself, and the master with it, printing the program's last lines.
    Ends,
}

/// The flags of each column.
const COLUMNS: [&[&str]; 6] = [
    &["--mode", "proxy", "--endpoint", "port"],
    &["--mode", "proxy", "--endpoint", "unix"],
    &["--mode", "proxy", "--endpoint", "inherited"],
    &["--mode", "handoff"],
    &["--mode", "shared"],
    &["--mode", "reuseport"],
];

const DESCRIPTOR_3: Cell = Told("it must accept on descriptor 3 (LISTEN_FDS), or the pool needs mode = \"proxy\"");
const HANDED: Cell =
    Told("it must be made with worker-runtime or be started as `node FILE`, or the pool needs mode = \"proxy\"");

/// Takes a port or a path in `$PORT`, as most servers do, and has a port of its own if `$PORT` is missing.
const LISTENS_ON_PORT: &str = r#"
import http.server, os, socketserver, sys
port = os.environ.get("PORT", sys.argv[1])
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"served\n")
    def address_string(self):
        return "client"
    def log_message(self, *_):
        pass
kind = socketserver.ThreadingUnixStreamServer if port.startswith("/") else socketserver.ThreadingTCPServer
kind.allow_reuse_address = True
kind(port if port.startswith("/") else ("127.0.0.1", int(port)), Handler).serve_forever()
"#;

const NODE: &str = "require('http').createServer((_, response) => response.end('served\\n')).listen(process.env.PORT ?? +process.argv[2]);";

/// One row: `command` and `flags` in each column, with a port that is free.
#[track_caller]
fn row(files: &[(&str, &str)], command: &[&str], flags: &[&str], cells: [Cell; 6]) {
    let row = COLUMNS.iter().zip(cells).enumerate();
    std::thread::scope(|scope| {
        let threads: Vec<_> = row
            .map(|(column, (mode, cell))| {
                scope.spawn(move || {
                    // The program's own port, if it is told none: each master's workers have another.
                    let port = free_address().port().to_string();
                    let (count, timeout) = if matches!(cell, Works) { ("2", "1m") } else { ("1", "10s") };
                    let timeout = format!("pool.app.ready-timeout={timeout}");
                    let of_column = if matches!(column, 2 | 4 | 5) { flags } else { &[][..] };
                    let flags = [*mode, &["-i", count, "--set", &timeout], of_column].concat();
                    let command: Vec<&str> =
                        command.iter().map(|&word| if word == "FREE" { port.as_str() } else { word }).collect();
                    let setup =
                        files.iter().fold(Setup::app(&flags, &command), |setup, (name, text)| setup.file(name, text));
                    match cell {
                        Works => {
                            let master = setup.start_ready();
                            let burst = burst(master.address(), "/", 20);
                            let answered = burst.starting("served")
                                + burst.starting("hello from app/")
                                + burst.starting("python/");
                            assert_eq!((answered, burst.failed.len()), (20, 0), "{mode:?}: {burst:?}");
                        }
                        Told(what) => {
                            let ended = setup.run_to_end();
                            assert_eq!(ended.code, Some(1), "{mode:?}: {ended:?}");
                            let cause =
                                ended.stderr.lines().find(|line| line.starts_with("cause:")).unwrap_or_default();
                            assert!(
                                cause.contains("your program listens on") && cause.contains(what),
                                "{mode:?}:\n{}",
                                ended.stderr
                            );
                        }
                        Ends => {
                            let ended = setup.run_to_end();
                            assert_eq!(ended.code, Some(1), "{mode:?}: {ended:?}");
                            assert!(ended.stderr.contains("it last wrote:"), "{mode:?}:\n{}", ended.stderr);
                        }
                    }
                })
            })
            .collect();
        for thread in threads {
            if let Err(failure) = thread.join() {
                std::panic::resume_unwind(failure);
            }
        }
    });
}

#[test]
fn worker_runtime_program_works_in_every_mode() {
    row(&[], &[BINARY, "demo-worker"], &[], [Works; 6]);
}

#[test]
fn port_program_works_in_proxy_and_is_told_elsewhere() {
    let Some(python) = python() else { return };
    let cells = [Works, Works, DESCRIPTOR_3, HANDED, DESCRIPTOR_3, DESCRIPTOR_3];
    row(&[("server.py", LISTENS_ON_PORT)], &[python, "server.py", "FREE"], &[], cells);
}

#[test]
fn socket_activated_program_works_with_an_inherited_listener() {
    let Some(python) = python() else { return };
    let accepts = [("accepts.py", include_str!("shared/accepts.py"))];
    row(
        &accepts,
        &[python, "accepts.py"],
        &["--ready", "none", "--health", "none"],
        [Ends, Ends, Works, Ends, Works, Works],
    );
}

#[test]
fn unmodified_node_application_works_in_modes_for_node() {
    if !has("node") {
        return;
    }
    let cells = [Works, Works, DESCRIPTOR_3, Works, Works, DESCRIPTOR_3];
    row(&[("app.js", NODE)], &["node", "app.js", "FREE"], &[], cells);
}
