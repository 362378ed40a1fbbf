//! As process 1 of a container the master reaps orphans, and still sees how its own workers end.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::kit::{
    Master, Setup, children, demo_after, environment, get, has, kill, python, shell, stat, variable, wait_for,
    wait_until,
};

/// Leaves orphans: each is a process of a session of its own whose parent has ended. Says when all were left.
const ORPHANS: &str = r#"
import os, sys, time
for n in range(int(sys.argv[1])):
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            # Some end before their parents, some after.
            time.sleep(n % 3 / 1000)
            os._exit(0)
        os._exit(0)
    os.wait()
open(sys.argv[2], "w").close()
"#;

/// The command that makes the master process 1 here, if that is permitted.
fn unshare() -> Option<Vec<&'static str>> {
    if !has("unshare") {
        return None;
    }
    let as_root = vec!["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"];
    let as_user = [&as_root[..], &["-r"]].concat();
    let is_permitted = |words: &Vec<&str>| {
        let status = Command::new(words[0]).args(&words[1..]).arg("true").stderr(Stdio::null()).status();
        status.is_ok_and(|status| status.success())
    };
    let found = [as_root, as_user].into_iter().find(is_permitted);
    if found.is_none() {
        // This is no failure even where everything is required: no package brings the right.
        eprintln!("skipped: needs root or user namespaces");
    }
    found
}

/// A master that is process 1, and its pid outside.
struct Init {
    master: Master,
    pid: u32,
}

impl Init {
    #[track_caller]
    fn start(count: &str, script: &str) -> Option<Self> {
        let (script, _) = (demo_after(script), python()?);
        Self::of(Setup::app(&["-i", count], &shell(&script)))
    }

    #[track_caller]
    fn of(setup: Setup) -> Option<Self> {
        let master = setup.through(&unshare()?).start();
        let pid = wait_for("process 1", || children(master.pid()).first().copied());
        eventually_eq!(master.state().pid, 1);
        Some(Self { master, pid })
    }

    /// The number of its dead children that were not reaped.
    fn zombies(&self) -> usize {
        let entries = std::fs::read_dir("/proc").unwrap().flatten();
        let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        let parent = self.pid.to_string();
        pids.filter_map(stat).filter(|fields| fields[0] == "Z" && fields[1] == parent).count()
    }

    #[track_caller]
    fn stop(mut self) {
        kill(i64::from(self.pid), "TERM");
        assert_eq!(self.master.wait_end().code(), Some(0));
        self.master.wait_no_family();
    }
}

/// A line of shell that leaves that many orphans.
fn leave(count: usize, done: &str) -> String {
    format!("{} -c '{ORPHANS}' {count} {done}", python().unwrap_or("python3"))
}

#[test]
fn thousand_orphans_leave_no_zombie() {
    let script = leave(500, "left.$ROUNDELAY_WORKER");
    let Some(mut init) = Init::start("2", &script) else { return };
    init.master.wait_all_ready();
    assert!(["left.0", "left.1"].iter().all(|name| init.master.dir().join(name).exists()));
    wait_until("no zombie", || init.zombies() == 0);
    eventually_eq!(init.master.family().len(), 3, "process 1 and two workers");
    eventually_eq!(init.master.workers().iter().map(|worker| worker.restarts).sum::<u64>(), 0);
    init.stop();
}

#[test]
fn worker_exits_are_seen_while_orphans_die() {
    // Worker 1 dies with its orphans, worker 0 leaves some all the time and serves.
    let script = format!(
        "if test $ROUNDELAY_WORKER = 1; then {}; exit 3; fi\n\
         (while test ! -e calm; do {}; done) &",
        leave(20, "/dev/null"),
        leave(50, "/dev/null")
    );
    let Some(init) = Init::start("2", &script) else { return };
    let of_worker_1 = |name: &str| init.master.metric(name, &[r#"worker="1""#]);
    wait_until("four exits", || {
        if init.master.worker(1).last_exit.is_some() {
            assert_eq!(of_worker_1("roundelay_worker_last_exit_code"), 3.0);
        }
        of_worker_1("roundelay_worker_restarts_total") >= 4.0
    });
    assert!(get(init.master.address(), "/").unwrap().body.starts_with("hello from app/0 "));
    eventually!(init.master.log().matches("worker died").count() >= 4);
    let log = init.master.log();
    let mut died = log.lines().filter(|line| line.contains("worker died"));
    assert!(died.all(|line| line.ends_with("exit=exit code 3")), "{log}");
    init.master.touch("calm");
    wait_until("no zombie", || init.zombies() == 0);
    init.stop();
}

#[test]
fn master_in_another_pid_namespace_keeps_sockets_of_living_one() {
    let runtime = tempfile::tempdir().unwrap();
    let demo = || {
        let setup = Setup::new(&["demo", "-i", "1", "--endpoint", "unix"]);
        setup.env("XDG_RUNTIME_DIR", runtime.path().to_str().unwrap())
    };
    let outside = demo().start_ready();
    let path = variable(&environment(outside.pids()[0]), "PORT");
    // No process inside has the pid of the master outside.
    let Some(mut init) = Init::of(demo()) else { return };
    init.master.wait_all_ready();
    assert!(Path::new(&path).exists(), "{path}");
    assert!(outside.get("/").unwrap().body.starts_with("hello from demo/0 "));
    init.stop();
}

#[test]
fn orphan_of_no_worker_is_only_reaped() {
    if !has("nsenter") {
        return;
    }
    let Some(mut init) = Init::start("1", "") else { return };
    init.master.wait_all_ready();
    // As `docker exec` does: a process from elsewhere, whose child stays behind.
    let pid = init.pid.to_string();
    let script = "setsid sleep 601 &";
    let status = Command::new("nsenter")
        .args(["-t", &pid, "-p", "sh", "-c", script])
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .stdout(Stdio::null())
        .status();
    if !status.is_ok_and(|status| status.success()) {
        eprintln!("skipped: needs the right to enter a namespace");
        return init.stop();
    }
    let orphan = || {
        children(init.pid)
            .into_iter()
            .find(|&pid| crate::kit::command_line(pid).last().is_some_and(|word| word == "601"))
    };
    let orphan = wait_for("the orphan", orphan);
    let reload = crate::kit::carried_out(&init.master, &["reload"]);
    assert_eq!(reload.result, "done");
    assert!(crate::kit::is_alive(orphan), "ended with a worker that it did not belong to");
    kill(i64::from(orphan), "TERM");
    wait_until("no zombie", || !Path::new(&format!("/proc/{orphan}")).exists());
    init.stop();
}
