//! The descriptors, rights and limits of a worker.

mod another_user;
mod folders;
mod refused;

use crate::kit::{Master, Setup, command_line, descriptors, environment, has, is_root, status, wait_for, wait_until};

/// A pool `app` whose workers do nothing; they are ready at once.
fn idle(flags: &[&str]) -> Setup {
    Setup::app(&[&["-i", "1", "--ready", "none", "--health", "none"], flags].concat(), &["sleep", "600"])
}

/// The worker's pid, once its program runs.
#[track_caller]
fn running(master: &Master) -> u32 {
    wait_for("the program to run", || {
        master.worker(0).pid.filter(|&pid| command_line(pid).first().is_some_and(|program| program == "sleep"))
    })
}

/// Its soft and hard limit of that name, as the kernel writes them.
#[track_caller]
fn limit(pid: u32, name: &str) -> [String; 2] {
    let limits = std::fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
    let line = limits.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    let mut fields = line.split_whitespace().map(str::to_owned);
    [fields.next().unwrap(), fields.next().unwrap()]
}

#[test]
fn proxy_worker_has_only_descriptors_0_1_and_2() {
    let stray = ["sh", "-c", "exec 9</etc/passwd 7>&1; exec \"$@\"", "sh"];
    for endpoint in ["port", "unix"] {
        let master = idle(&["--endpoint", endpoint]).through(&stray).start_ready();
        let pid = running(&master);
        // The loader has libraries open for a moment; what is inherited would stay.
        wait_until("nothing but 0, 1 and 2", || {
            let found = descriptors(pid);
            let kinds: Vec<_> = found.iter().map(|(number, what)| (*number, what.split(':').next().unwrap())).collect();
            kinds == [(0, "/dev/null"), (1, "pipe"), (2, "pipe")]
        });
    }
}

#[test]
fn worker_cannot_gain_rights_unless_the_pool_allows_it() {
    for (flags, expected) in [(&[][..], "1"), (&["--set", "pool.app.no-new-privs=false"], "0")] {
        let master = idle(flags).start_ready();
        assert_eq!(status(running(&master), "NoNewPrivs"), [expected]);
    }
}

#[test]
fn worker_has_the_limits_of_the_master_or_the_pool() {
    if !has("prlimit") {
        return;
    }
    let given = ["prlimit", "--nofile=1000:2000", "--core=5000:6000"];
    let master = idle(&[]).through(&given).start_ready();
    let pid = running(&master);
    assert_eq!(limit(pid, "Max open files"), ["1000", "2000"]);
    assert_eq!(limit(pid, "Max core file size"), ["5000", "6000"]);
    let said = ["--set", "pool.app.limit-nofile=1500", "--set", "pool.app.limit-core=off"];
    let master = idle(&said).through(&given).start_ready();
    let pid = running(&master);
    assert_eq!(limit(pid, "Max open files"), ["1500", "2000"]);
    assert_eq!(limit(pid, "Max core file size"), ["0", "0"]);
}

#[test]
fn ambient_capabilities_of_the_master_are_not_passed_on() {
    if !is_root() || !has("setpriv") {
        return;
    }
    let ambient = ["setpriv", "--inh-caps", "+net_bind_service", "--ambient-caps", "+net_bind_service"];
    let master = idle(&[]).through(&ambient).start_ready();
    assert_ne!(status(master.pid(), "CapAmb"), ["0000000000000000"]);
    assert_eq!(status(running(&master), "CapAmb"), ["0000000000000000"]);
}

#[test]
fn worker_sees_only_documented_variables_of_the_master() {
    let canary = "ROUNDELAY_SET";
    let master = idle(&[]).env(canary, "log.level=debug").env("WATCHDOG_USEC", "9").start_ready();
    let environment = environment(running(&master));
    let ours: Vec<_> = environment.iter().filter_map(|one| one.strip_prefix("ROUNDELAY_")?.split('=').next()).collect();
    let mut ours = ours;
    ours.sort_unstable();
    assert_eq!(ours, ["GENERATION", "POOL", "WORKER", "WORKERS"], "{environment:?}");
    let watchdog: Vec<_> = environment.iter().filter(|one| one.starts_with("WATCHDOG_")).collect();
    assert_eq!(watchdog, ["WATCHDOG_USEC=1000000"], "its own: health.heartbeat");
}
