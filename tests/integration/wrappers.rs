//! The stop signal reaches the server behind npm, a shell or a script once. A preforking server ends its own
//! children.

use std::path::Path;

use crate::kit::{Master, Setup, for_each, has, python, read_answer, send_get, wait_until};

/// Counts the SIGTERMs that it gets, and needs half a second after the first to write how many there were.
const COUNTS: &str = "
const fs = require('fs');
let terms = 0;
process.on('SIGTERM', () => {
    if (++terms > 1) return;
    setTimeout(() => { fs.writeFileSync(`goodbye.${process.pid}`, String(terms)); process.exit(0); }, 500);
});
require('http').createServer((q, r) => r.end('ok')).listen(process.env.PORT, process.env.HOST);
";

/// The second SIGTERM kills it, as `process.once` leaves the default behind.
const ONCE: &str = "
const fs = require('fs');
process.once('SIGTERM', () => setTimeout(() => {
    fs.writeFileSync(`goodbye.${process.pid}`, '1');
    process.exit(0);
}, 500));
require('http').createServer((q, r) => r.end('ok')).listen(process.env.PORT, process.env.HOST);
";

/// Two children accept at the parent's listener. They die at SIGTERM, as celery's and postgres' do without a word
/// from their parent, and each death of that kind is noted. The parent ends them in order.
const PREFORKER: &str = r#"
import os, signal, socket, sys, time

if os.environ.get("LISTEN_FDS"):
    listener = socket.socket(fileno=3)
else:
    listener = socket.create_server((os.environ["HOST"], int(os.environ["PORT"])), reuse_port=False)
children = []
for _ in range(2):
    pid = os.fork()
    if pid == 0:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGUSR1, lambda *_: os._exit(0))
        while True:
            connection, _ = listener.accept()
            connection.recv(4096)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
            connection.close()
    children.append(pid)


def stop(*_):
    time.sleep(0.3)
    for pid in children:
        os.kill(pid, signal.SIGUSR1)
    killed = [pid for pid in children if os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) != 0]
    with open("goodbye.%d" % os.getpid(), "w") as note:
        note.write("%d killed" % len(killed))
    os._exit(0)


signal.signal(signal.SIGTERM, stop)
if os.environ.get("LISTEN_FDS"):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
        notify.sendto(b"READY=1", os.environ["NOTIFY_SOCKET"])
while True:
    signal.pause()
"#;

/// The goodbyes that the workers wrote, one a file.
fn goodbyes(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).unwrap().flatten();
    let notes = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with("goodbye."));
    notes.map(|note| std::fs::read_to_string(note.path()).unwrap()).collect()
}

/// Stops the master; no process may have had to be killed.
#[track_caller]
fn stops_well(master: &mut Master) {
    master.signal("TERM");
    assert_eq!(master.wait_end().code(), Some(0));
    master.wait_no_family();
    let log = master.log();
    assert!(!log.contains("killing its process group"), "{log}");
}

/// Checks that the workers of this command say goodbye at a stop and at a reload, each once and as expected.
#[track_caller]
fn say_goodbye(setup: Setup, expected: &str) {
    let mut master = setup.start_ready();
    assert_eq!(master.get("/").unwrap().body, "ok");
    let (old, count) = (master.pids(), master.pids().len());
    let reload = crate::kit::run_command(&master, &["reload"]);
    assert_eq!(reload.code, Some(0), "{reload:?}");
    at_once!(master.pids().iter().all(|pid| !old.contains(pid)));
    assert_eq!(goodbyes(master.dir()), vec![expected; count], "after the reload");
    stops_well(&mut master);
    assert_eq!(goodbyes(master.dir()), vec![expected; 2 * count], "after the stop");
}

#[test]
fn server_behind_shell_gets_the_signal_once() {
    if has("node") {
        for_each(&[&["-i", "2"][..], &["-i", "1", "--endpoint", "unix"]], |flags| {
            let setup = Setup::app(flags, &["sh", "-c", "node counts.js; true"]);
            say_goodbye(setup.file("counts.js", COUNTS), "1");
        });
    }
}

#[test]
fn server_behind_shell_is_stopped_in_handoff_mode() {
    if has("node") {
        // The program is disconnected first: the shell ends by itself, and only processes that are left would get the
        // signal.
        let flags = ["-i", "1", "--mode", "handoff", "--set", "pool.app.socket-passing=node"];
        let mut master = Setup::app(&flags, &["sh", "-c", "node counts.js; true"])
            .file("counts.js", COUNTS)
            .env("PORT", "0")
            .start_ready();
        stops_well(&mut master);
    }
}

#[test]
fn server_behind_npm_gets_the_signal_once() {
    if has("npm") {
        for_each(&["node counts.js", "true && node counts.js"], |script| {
            let package = format!(r#"{{"name": "app", "scripts": {{"start": "{script}"}}}}"#);
            let setup = Setup::app(&["-i", "1"], &["npm", "start"]).env("npm_config_update_notifier", "false");
            say_goodbye(setup.file("counts.js", COUNTS).file("package.json", &package), "1");
        });
    }
}

#[test]
fn once_handler_behind_npm_and_bash_survives() {
    if has("npm") && has("bash") {
        let package = r#"{"name": "app", "scripts": {"start": "node once.js"}}"#;
        for_each(&[&["npm", "start"][..], &["bash", "start.sh"]], |command| {
            let setup = Setup::app(&["-i", "1"], command).env("npm_config_update_notifier", "false");
            let setup = setup.file("start.sh", "#!/bin/bash\nset -e\nnode once.js\ntrue\n");
            say_goodbye(setup.file("once.js", ONCE).file("package.json", package), "1");
        });
    }
}

#[test]
fn preforker_ends_its_children_itself() {
    let Some(python) = python() else { return };
    let commands = [&[python, "fork.py"][..], &["sh", "-c", "python3 fork.py; true"]];
    let cases: Vec<_> = ["proxy", "shared", "reuseport"].iter().flat_map(|mode| commands.map(|c| (mode, c))).collect();
    for_each(&cases, |&(mode, command)| {
        let setup = Setup::app(&["-i", "1", "--mode", mode], command).file("fork.py", PREFORKER);
        say_goodbye(setup, "0 killed");
    });
}

#[test]
fn gunicorn_workers_get_the_signal_once() {
    if !has("gunicorn") {
        return;
    }
    // Gunicorn's own children note each SIGTERM; their arbiter sends them one.
    let config = "
import os, signal
def post_worker_init(worker):
    old = signal.getsignal(signal.SIGTERM)
    def term(*args):
        with open('goodbye.%d' % worker.pid, 'a') as note:
            note.write('1')
        old(*args)
    signal.signal(signal.SIGTERM, term)
";
    let app = "
def application(environ, start):
    start('200 OK', [('Content-Length', '2')])
    return [b'ok']
";
    for_each(&["exec gunicorn", "gunicorn"], |&wrapper| {
        let line = format!("{wrapper} -w 2 -c conf.py --bind 127.0.0.1:$PORT app:application; true");
        let line = line.trim_start_matches("exec ").to_owned();
        let command: Vec<&str> = match wrapper {
            "gunicorn" => vec!["sh", "-c", &line],
            _ => vec!["gunicorn", "-w", "2", "-c", "conf.py", "--bind", "127.0.0.1:{port}", "app:application"],
        };
        let setup = Setup::app(&["-i", "1"], &command).file("conf.py", config).file("app.py", app);
        let mut master = setup.start_ready();
        wait_until("an answer", || master.get("/").is_ok_and(|answer| answer.body == "ok"));
        wait_until("both of gunicorn's children", || master.log().matches("Booting worker").count() == 2);
        stops_well(&mut master);
        assert_eq!(goodbyes(master.dir()), ["1", "1"]);
    });
}

#[test]
fn puma_cluster_behind_shell_ends_gracefully() {
    if !has("puma") {
        return;
    }
    let app = "run lambda { |env| [200, {'Content-Length' => '2'}, ['ok']] }\n";
    let command = ["sh", "-c", "puma -w 2 -t 1:1 -b tcp://127.0.0.1:$PORT config.ru; true"];
    let mut master = Setup::app(&["-i", "1"], &command).file("config.ru", app).start_ready();
    wait_until("an answer", || master.get("/").is_ok_and(|answer| answer.body == "ok"));
    wait_until("both of puma's children", || master.log().matches("booted").count() == 2);
    stops_well(&mut master);
    let log = master.log();
    assert!(log.contains("Gracefully shutting down workers"), "{log}");
}

#[test]
fn nginx_behind_shell_finishes_at_quit() {
    if !has("nginx") {
        return;
    }
    let config = "
daemon off; master_process on; worker_processes 2; pid nginx.pid; error_log stderr;
events {}
http {
    access_log off; client_body_temp_path t1; proxy_temp_path t2; fastcgi_temp_path t3; uwsgi_temp_path t4; scgi_temp_path t5;
    server { listen PLACE; root .; location / { limit_rate 20k; } }
}
";
    let script = r#"sed "s/PLACE/127.0.0.1:$PORT/" nginx.conf > own.conf; nginx -p . -c own.conf; true"#;
    let setup = Setup::app(&["-i", "1"], &["sh", "-c", script]).file("nginx.conf", config);
    let file = "x".repeat(40 << 10);
    let options = ["stop-signal=QUIT", "drain=signal"];
    let mut master = setup.file("big", &file).with("app", &options).start_ready();
    let client = send_get(master.address(), "/big").unwrap();
    // An assigned connection is not yet accepted; one with the first byte of its answer is.
    assert_eq!(client.peek(&mut [0]).unwrap(), 1);
    // A client that reads only afterwards would not close its side, and the drain would wait for that.
    let reading = std::thread::spawn(move || read_answer(client));
    stops_well(&mut master);
    assert_eq!(reading.join().unwrap().unwrap().body.len(), file.len());
    let log = master.log();
    assert!(!log.contains("does not catch"), "{log}");
}

#[test]
fn server_behind_bash_gets_sigint() {
    let Some(python) = python() else { return };
    if !has("bash") {
        return;
    }
    // The listener is inherited, so bash holds it too; and bash catches SIGINT while it waits.
    let server = PREFORKER.replace("signal.SIGTERM, stop", "signal.SIGINT, stop");
    let line = format!("{python} fork.py; true");
    let setup = Setup::app(&["-i", "1", "--mode", "shared"], &["bash", "-c", &line]).file("fork.py", &server);
    say_goodbye(setup.with("app", &["stop-signal=INT"]), "0 killed");
}

#[test]
fn processes_left_after_main_and_leader_get_the_signal() {
    let Some(python) = python() else { return };
    let helper = "trap 'echo helped > goodbye.helper; exit 0' TERM; echo set; while :; do sleep 0.05; done";
    let command = ["sh", "-c", "sh helper.sh & exec \"$0\" -m http.server --bind 127.0.0.1 $PORT", python];
    let mut master = Setup::app(&["-i", "1"], &command).file("helper.sh", helper).start_ready();
    master.wait_log("| set\n");
    stops_well(&mut master);
    assert_eq!(goodbyes(master.dir()), ["helped\n"]);
}

#[test]
fn leader_or_group_gets_the_signal_as_configured() {
    // Each process notes the signal. The leader ends its child by another signal.
    let leader = "trap 'echo leader >> said; kill -USR1 $child' TERM\nsh child.sh & child=$!\n\
                  while kill -0 $child 2>/dev/null; do sleep 0.05; done\nexit 0\n";
    let child = "trap 'echo child >> said' TERM\ntrap 'done=1' USR1\necho set\n\
                 while test -z \"$done\"; do sleep 0.05; done\n";
    for (to, expected) in [("leader", vec!["leader"]), ("group", vec!["child", "leader"])] {
        let options = [&format!("stop-signal-to={to}")[..], "ready=none", "health.probe=none"];
        let setup = Setup::app(&["-i", "1"], &["sh", "leader.sh"]).file("leader.sh", leader).file("child.sh", child);
        let mut master = setup.with("app", &options).start_ready();
        master.wait_log("| set\n");
        stops_well(&mut master);
        let said = std::fs::read_to_string(master.dir().join("said")).unwrap();
        let mut said: Vec<&str> = said.lines().collect();
        said.sort_unstable();
        assert_eq!(said, expected, "{to}");
    }
}

#[test]
fn rest_of_the_group_is_killed_after_kill_timeout() {
    let options = ["kill-timeout=500ms", "ready=none", "health.probe=none"];
    let command = ["sh", "-c", "(trap '' TERM; echo set; while :; do sleep 0.05; done) & wait"];
    let mut master = Setup::app(&["-i", "1"], &command).with("app", &options).start_ready();
    master.wait_log("| set\n");
    master.signal("TERM");
    assert_eq!(master.wait_end().code(), Some(0));
    master.wait_no_family();
    master.wait_log("killing its process group");
}
