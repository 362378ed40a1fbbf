//! A worker that says by itself that it ends, and does not, is replaced.

use crate::kit::{Setup, is_alive, python, wait_until};

/// Says STOPPING=1 when the file `leave` appears, and serves on.
const WORKER: &str = r#"
import http.server, os, socket, threading, time


def say(text):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
        notify.sendto(text, os.environ["NOTIFY_SOCKET"])


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = b"%d" % os.getpid()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def leave():
    while not os.path.exists("leave"):
        time.sleep(0.01)
    say(b"STOPPING=1")


if not os.path.exists("leave"):
    threading.Thread(target=leave, daemon=True).start()
inherited = "LISTEN_FDS" in os.environ
address = ("127.0.0.1", 0 if inherited else int(os.environ["PORT"]))
server = http.server.ThreadingHTTPServer(address, Handler, bind_and_activate=not inherited)
if inherited:
    server.socket = socket.socket(fileno=3)
say(b"READY=1")
server.serve_forever()
"#;

#[test]
fn worker_that_announces_stopping_and_stays_is_replaced() {
    let Some(python) = python() else { return };
    for flags in [&[][..], &["--mode", "shared"], &["--mode", "reuseport"]] {
        let flags = [&["-i", "1", "--ready", "notify"], flags].concat();
        let setup = Setup::app(&flags, &[python, "worker.py"]).file("worker.py", WORKER);
        let master = setup.with("app", &["kill-timeout=500ms", "drain-timeout=500ms"]).start_ready();
        let old = master.pids()[0];
        assert_eq!(master.get("/").unwrap().body, old.to_string());
        master.touch("leave");
        wait_until("another in its place", || {
            let worker = master.worker(0);
            worker.state == "ready" && worker.pid != Some(old)
        });
        wait_until("its end", || !is_alive(old));
        let new = master.pids()[0];
        assert_eq!(master.get("/").unwrap().body, new.to_string());
        eventually_eq!(master.metric("roundelay_worker_restarts_total", &[r#"reason="left""#]), 1.0, "{flags:?}");
    }
}
