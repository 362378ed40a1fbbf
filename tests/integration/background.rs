//! A program that daemonizes is named in the log, and ends when its worker ends.

use std::path::Path;

use crate::kit::{
    Master, Setup, carried_out, command_line, descriptors, has, is_alive, kill, python, shell, wait_for, wait_until,
};

/// Forks twice, calls `setsid` between the forks, and then listens.
const DAEMON: &str = r#"
import http.server, os, sys, time
if os.fork():
    sys.exit(0)
os.setsid()
if os.fork():
    os._exit(0)
with open("daemon.%d" % os.getpid(), "w"):
    pass
http.server.HTTPServer((os.environ["HOST"], int(os.environ["PORT"])), http.server.SimpleHTTPRequestHandler).serve_forever()
"#;

/// Forks once; the parent lives until its child has a session of its own.
const PATIENT: &str = r#"
import os, sys, time
child = os.fork()
if child:
    while os.path.exists("/proc/%d" % child) and os.getsid(child) != child:
        time.sleep(0.001)
    sys.exit(0)
os.setsid()
with open("daemon.%d" % os.getpid(), "w"):
    pass
time.sleep(600)
"#;

const NGINX: &str = "
pid nginx.pid; error_log stderr; worker_processes 2;
events {}
http {
    access_log off; client_body_temp_path t1; proxy_temp_path t2; fastcgi_temp_path t3; uwsgi_temp_path t4; scgi_temp_path t5;
    server { listen 127.0.0.1:PORT; }
}
";

/// The pids in the names of the files that daemons have written.
fn daemons(dir: &Path) -> Vec<u32> {
    let entries = std::fs::read_dir(dir).unwrap().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    names.filter_map(|name| name.strip_prefix("daemon.")?.parse().ok()).collect()
}

/// The living processes whose command line names the folder: nginx writes its title over its environment.
fn naming(dir: &Path) -> Vec<u32> {
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let names_it = |&pid: &u32| command_line(pid).iter().any(|word| word.contains(dir.to_str().unwrap()));
    pids.filter(names_it).filter(|&pid| is_alive(pid)).collect()
}

#[track_caller]
fn wait_restarts(master: &Master, count: f64) {
    wait_until("its restarts", || master.metric("roundelay_worker_restarts_total", &[r#"worker="0""#]) >= count);
}

#[test]
fn program_that_daemonizes_is_reported() {
    let Some(python) = python() else { return };
    // The shell leaves its child in the shell's own process group.
    for command in [vec![python, "patient.py"], vec!["sh", "-c", "python3 -m http.server &"]] {
        let setup = Setup::app(&["-i", "1"], &command).file("patient.py", PATIENT);
        let ended = setup.run_to_end();
        assert_eq!(ended.code, Some(1), "{ended:?}");
        let said = "exit code 0: it went into the background; start it in the foreground: ";
        assert!(ended.stderr.contains(said), "{}", ended.stderr);
    }
}

#[test]
fn daemon_is_ended_with_its_worker() {
    let Some(python) = python() else { return };
    for script in ["daemon.py", "patient.py"] {
        let setup = Setup::app(&["-i", "1"], &[python, script]).file("daemon.py", DAEMON).file("patient.py", PATIENT);
        let mut master = setup.with("app", &["ready=none", "health.probe=none"]).start();
        wait_restarts(&master, 3.0);
        master.wait_log("exit code 0: it went into the background; start it in the foreground: ");
        wait_until("few of them", || daemons(master.dir()).into_iter().filter(|&pid| is_alive(pid)).count() <= 1);
        master.signal("TERM");
        assert_eq!(master.wait_end().code(), Some(0));
        master.wait_no_family();
        assert!(daemons(master.dir()).into_iter().all(|pid| !is_alive(pid)));
    }
}

#[test]
fn nginx_in_the_background_is_named_and_ended() {
    if !has("nginx") {
        return;
    }
    // The two processes of nginx overwrite their environment. Each start listens at the worker's own port.
    let script = "sed \"s/PORT/$PORT/\" nginx.conf > own.conf; exec nginx -p \"$PWD\" -c \"$PWD/own.conf\"";
    let setup = Setup::app(&["-i", "1"], &shell(script)).file("nginx.conf", NGINX);
    let mut master = setup.with("app", &["ready=none", "health.probe=none"]).start();
    wait_restarts(&master, 4.0);
    master.wait_log("it went into the background; start it in the foreground: nginx -g 'daemon off;'");
    // At most the last nginx is left: master and two workers.
    wait_until("few of them", || naming(master.dir()).len() <= 3);
    master.signal("TERM");
    assert_eq!(master.wait_end().code(), Some(0));
    wait_until("no nginx", || naming(master.dir()).is_empty());
}

#[test]
fn daemon_that_ignores_the_signal_is_killed() {
    let Some(python) = python() else { return };
    let stubborn =
        PATIENT.replace("os.setsid()", "os.setsid()\nimport signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)");
    let setup = Setup::app(&["-i", "1"], &[python, "stubborn.py"]).file("stubborn.py", &stubborn);
    let options = ["ready=none", "health.probe=none", "kill-timeout=300ms"];
    let mut master = setup.with("app", &options).start();
    let first = wait_for("a daemon", || daemons(master.dir()).first().copied());
    wait_until("its end", || !is_alive(first));
    master.wait_log("did not end within kill-timeout: killing it");
    // A stop also ends a daemon that was just left. A SIGKILL of the master could not.
    master.signal("TERM");
    assert_eq!(master.wait_end().code(), Some(0));
    master.wait_no_family();
}

#[test]
fn daemon_beside_a_worker_is_ended_by_its_stop_signal() {
    let Some(python) = python() else { return };
    let helper = "trap 'echo bye > goodbye.helper; exit 0' TERM; echo set; while :; do sleep 0.05; done";
    let command = ["sh", "-c", "setsid sh helper.sh & exec \"$0\" -m http.server --bind 127.0.0.1 $PORT", python];
    let mut master = Setup::app(&["-i", "1"], &command).file("helper.sh", helper).start_ready();
    master.wait_log("| set\n");
    // The worker lives, so the reload leaves its daemon alone, though the daemon's parent may have ended.
    carried_out(&master, &["reload"]);
    eventually!(master.dir().join("goodbye.helper").exists());
    master.remove("goodbye.helper");
    wait_until("the next helper", || master.log().matches("| set\n").count() == 2);
    master.signal("TERM");
    assert_eq!(master.wait_end().code(), Some(0));
    master.wait_no_family();
    assert!(master.dir().join("goodbye.helper").exists());
}

#[test]
fn daemon_kept_by_config_outlives_the_master() {
    let Some(python) = python() else { return };
    let setup = Setup::app(&["-i", "1"], &[python, "patient.py"]).file("patient.py", PATIENT);
    let options = ["ready=none", "health.probe=none", "background=keep"];
    let mut master = setup.with("app", &options).start();
    wait_restarts(&master, 2.0);
    master.wait_log("left in the background by a worker: kept");
    master.signal("TERM");
    assert_eq!(master.wait_end().code(), Some(0));
    // Each daemon writes its file once it is on its own, which may be after the master's end.
    eventually!(daemons(master.dir()).into_iter().filter(|&pid| is_alive(pid)).count() >= 2);
    master.family().into_iter().for_each(|pid| kill(i64::from(pid), "KILL"));
}

#[test]
fn daemon_that_holds_the_output_leaks_no_descriptor() {
    let Some(python) = python() else { return };
    let setup = Setup::app(&["-i", "1"], &[python, "patient.py"]).file("patient.py", PATIENT);
    let options =
        ["ready=none", "health.probe=none", "background=keep", "restart.backoff=20ms", "restart.backoff-max=20ms"];
    let mut master = setup.with("app", &options).start();
    let pipes = || descriptors(master.pid()).iter().filter(|(_, what)| what.starts_with("pipe:")).count();
    wait_restarts(&master, 8.0);
    // Each daemon keeps two pipes open for ever. The master reads them for one second after the worker's end.
    carried_out(&master, &["stop", "app"]);
    wait_until("closed pipes", || pipes() <= 8);
    eventually!(daemons(master.dir()).into_iter().filter(|&pid| is_alive(pid)).count() >= 8);
    master.signal("TERM");
    master.wait_end();
    master.family().into_iter().for_each(|pid| kill(i64::from(pid), "KILL"));
}
