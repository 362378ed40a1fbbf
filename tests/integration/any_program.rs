//! Any program can be a worker: it gets its port and slot in its environment, and inherits nothing else.

use std::path::Path;

use crate::kit::{
    Master, Setup, burst, clients, command_line, demo_after, descriptors, environment, express, get, has, python,
    shell, signals, stat, variable,
};

#[test]
fn express_app_on_port_is_served_by_all_workers() {
    let Some(app) = express() else { return };
    let master = Setup::app(&["-i", "2", "--health", "/health"], &["node", app]).start_ready();
    let burst = burst(master.address(), "/", 40);
    let answered = [0, 1].map(|slot| burst.starting(&format!("hello from express/{slot} ")));
    assert_eq!((answered, burst.failed.len()), ([20, 20], 0), "{burst:?}");
    assert_eq!(master.get("/api/1000000").unwrap().body, "500000500000");
}

#[test]
fn program_with_port_as_argument_is_served() {
    let Some(python) = python() else { return };
    let command = [python, "-m", "http.server", "{port}", "--bind", "127.0.0.1"];
    let master = Setup::app(&["-i", "2"], &command).file("page.txt", "a page of the folder").start_ready();
    let burst = burst(master.address(), "/page.txt", 20);
    assert_eq!((burst.starting("a page of the folder"), burst.failed.len()), (20, 0), "{burst:?}");
    eventually!(master.workers().iter().all(|worker| worker.connections == Some(10)));
}

#[test]
fn shell_one_liner_is_served() {
    if !has("socat") {
        return;
    }
    let answer = "read request; echo HTTP/1.0 200 OK; echo; echo shell $ROUNDELAY_WORKER";
    let script = format!("socat TCP-LISTEN:$PORT,bind=127.0.0.1,reuseaddr,crlf,fork SYSTEM:\"{answer}\"");
    let master = Setup::app(&["-i", "2"], &shell(&script)).start_ready();
    let answers = clients(2, 20, |_| get(master.address(), "/"));
    let bodies: Vec<_> = answers.into_iter().map(|answer| answer.unwrap().body).collect();
    for slot in 0..2 {
        assert_eq!(bodies.iter().filter(|body| **body == format!("shell {slot}\r\n")).count(), 10, "{bodies:?}");
    }
}

#[test]
fn worker_environment_has_its_own_values_not_the_masters() {
    let config = r#"
[pool.api]
command = ["sh", "-c", "printf 'args %s\n' \"$*\"; exec \"$0\" demo-worker", "BINARY", "at-{port}", "{port}{port}", "{ports}"]
workers = 3
[pool.api.env]
OWN = "of the pool"
REPLACED = "by the pool"
"#;
    let canaries = [
        "NOTIFY_SOCKET",
        "LISTEN_FDS",
        "LISTEN_PID",
        "LISTEN_FDNAMES",
        "WATCHDOG_USEC",
        "WATCHDOG_PID",
        "NODE_CHANNEL_FD",
        "NODE_CHANNEL_SERIALIZATION_MODE",
        "ROUNDELAY_GENERATION",
        "ROUNDELAY_CANARY",
        "PORT",
        "HOST",
        "NODE_APP_INSTANCE",
    ];
    let setup = Setup::new(&["run", "-c", "api.toml"]).file("api.toml", &config.replace("BINARY", crate::kit::BINARY));
    let setup = canaries.iter().fold(setup, |setup, name| setup.env(name, "canary"));
    let master = setup.env("INHERITED", "as it was").env("REPLACED", "of the master").start_ready();
    let workers = master.workers();
    assert_eq!(workers.len(), 3);
    for worker in workers {
        let environment = environment(worker.pid.unwrap());
        let value = |name: &str| variable(&environment, name);
        let slot = worker.slot.to_string();
        let port = value("PORT");
        assert_eq!(Some(format!("127.0.0.1:{port}")), worker.endpoint);
        for (name, expected) in [
            ("HOST", "127.0.0.1"),
            ("ROUNDELAY_POOL", "api"),
            ("ROUNDELAY_WORKER", &slot),
            ("ROUNDELAY_WORKERS", "3"),
            ("ROUNDELAY_GENERATION", "1"),
            ("NODE_APP_INSTANCE", &slot),
            ("OWN", "of the pool"),
            ("REPLACED", "by the pool"),
            ("INHERITED", "as it was"),
        ] {
            assert_eq!(value(name), expected, "{name}");
        }
        assert!(Path::new(&value("NOTIFY_SOCKET")).exists());
        assert!(environment.iter().all(|one| !one.contains("canary")), "{environment:?}");
        let ours = ["POOL", "WORKER", "WORKERS", "GENERATION"].map(|name| format!("ROUNDELAY_{name}="));
        let other = environment.iter().filter(|one| one.starts_with("ROUNDELAY_"));
        assert_eq!(other.filter(|one| !ours.iter().any(|our| one.starts_with(our))).count(), 0, "{environment:?}");
        master.wait_log(&format!("api/{slot} | args at-{port} {port}{port} {{ports}}"));
    }
}

/// A pool of one program that only sleeps.
fn sleeper(flags: &[&str]) -> Setup {
    Setup::app(&[&["--ready", "none", "--health", "none"], flags].concat(), &["sleep", "600"])
}

#[track_caller]
fn assert_clean(master: &Master) {
    let pid = master.pids()[0];
    assert_eq!(command_line(pid), ["sleep", "600"]);
    let found = descriptors(pid);
    assert_eq!(found.iter().map(|(number, _)| *number).collect::<Vec<_>>(), [0, 1, 2], "{found:?}");
    assert_eq!(found[0].1, "/dev/null");
    assert!(found[1..].iter().all(|(_, target)| target.starts_with("pipe:")), "{found:?}");
}

#[test]
fn worker_inherits_only_the_standard_descriptors() {
    let master = sleeper(&["-i", "1"]).start_ready();
    assert_clean(&master);
}

#[test]
fn descriptor_leaked_to_the_master_does_not_reach_a_worker() {
    let stray = ["sh", "-c", "exec 9</etc/passwd 7>&1; exec \"$@\"", "sh"];
    let master = sleeper(&["-i", "1"]).through(&stray).start_ready();
    eventually!(descriptors(master.pid()).iter().any(|(number, target)| *number == 9 && target == "/etc/passwd"));
    assert_clean(&master);
}

#[test]
fn worker_starts_with_default_signals_in_its_own_group() {
    const PIPE: u64 = 1 << (13 - 1);
    // SIGPIPE is ignored, as in a program that another Rust program or Python started.
    let ignoring = ["sh", "-c", "trap '' PIPE; exec \"$@\"", "sh"];
    let master = sleeper(&["-i", "2"]).through(&ignoring).start_ready();
    assert_ne!(signals(master.pid(), "SigIgn") & PIPE, 0);
    for pid in master.pids() {
        assert_eq!(signals(pid, "SigBlk"), 0);
        assert_eq!(signals(pid, "SigIgn") & PIPE, 0);
        let stat = stat(pid).unwrap();
        assert_eq!((&stat[1], &stat[2]), (&master.pid().to_string(), &pid.to_string()), "parent and group");
    }
}

#[test]
fn worker_gets_the_open_files_limit_of_the_masters_start() {
    let limited = ["sh", "-c", "ulimit -Sn 777; exec \"$@\"", "sh"];
    let master = sleeper(&["-i", "1"]).through(&limited).start_ready();
    let soft = |pid: u32| {
        let limits = std::fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
        let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
        line.split_whitespace().nth(3).unwrap().to_owned()
    };
    assert_ne!(soft(master.pid()), "777", "the master raises its own");
    eventually_eq!(soft(master.pids()[0]), "777");
}

#[test]
fn worker_runs_in_the_masters_directory_or_the_pools_cwd() {
    let at = |pid: u32| std::fs::read_link(format!("/proc/{pid}/cwd")).unwrap();
    let master = sleeper(&["-i", "1"]).start_ready();
    eventually_eq!(at(master.pids()[0]), master.dir().canonicalize().unwrap());

    let setup = sleeper(&["-i", "1", "--set", "pool.app.cwd=below"]);
    std::fs::create_dir(setup.dir().join("below")).unwrap();
    let master = setup.start_ready();
    eventually_eq!(at(master.pids()[0]), master.dir().join("below").canonicalize().unwrap());
}

#[test]
fn demo_worker_behind_a_shell_is_served() {
    let master = Setup::app(&["-i", "2"], &shell(&demo_after("true"))).start_ready();
    let burst = burst(master.address(), "/api/1000", 20);
    assert_eq!((burst.starting("500500"), burst.failed.len()), (20, 0), "{burst:?}");
}
