//! A worker that says by itself that it ends, and does not, is replaced.

use crate::kit::{Setup, is_alive, python, read_answer, send_get, wait_until};

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

/// Leaves its queue to itself from the first byte of `busy`: then it closes its listener, says STOPPING=1, and lives on for a while.
const CLOSES: &str = r#"
import os, socket, time

listener = socket.create_server(("127.0.0.1", int(os.environ["PORT"])), backlog=64)
first = os.environ["ROUNDELAY_WORKER"] == "0" and not os.path.exists("left")
with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
    notify.connect(os.environ["NOTIFY_SOCKET"])
    notify.send(b"READY=1")
    while True:
        connection = listener.accept()[0]
        if not connection.recv(65536):
            continue
        if first:
            open("left", "w").close()
            while not os.path.exists("go"):
                time.sleep(0.01)
            listener.close()
            notify.send(b"STOPPING=1")
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nfirst")
            connection.close()
            time.sleep(60)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nother")
        connection.close()
"#;

#[test]
fn queue_of_a_stopping_worker_is_served_by_others() {
    let Some(python) = python() else { return };
    let setup = Setup::app(&["-i", "2", "--ready", "notify"], &[python, "worker.py"]).file("worker.py", CLOSES);
    let master = setup.with("app", &["kill-timeout=500ms", "drain-timeout=20s", "health.probe=\"none\""]).start_ready();
    let clients: Vec<_> = (0..8).map(|_| send_get(master.address(), "/").unwrap()).collect();
    wait_until("one worker to have stopped accepting", || master.dir().join("left").exists());
    wait_until("all clients to be with a worker", || master.pool().accepted == Some(8));
    master.touch("go");
    let answers: Vec<_> = clients.into_iter().map(|client| read_answer(client).unwrap().body).collect();
    assert_eq!(answers.iter().filter(|body| *body == "first").count(), 1, "{answers:?}");
    assert_eq!(answers.iter().filter(|body| *body == "other").count(), 7, "{answers:?}");
}

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
