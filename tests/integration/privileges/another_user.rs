//! `user`: the workers run as another user, with nothing of the master's, and serve all the same. As root only.

use crate::kit::{
    Setup, burst, demo_after, environment, has, is_root, kill, shell, stat, status, variable, wait_for, wait_until,
};

use super::{idle, running};

const NOTHING: &str = "0000000000000000";

/// The numbers of the user and its group, from this machine's own file.
#[track_caller]
pub(super) fn nobody() -> [String; 2] {
    let passwd = std::fs::read_to_string("/etc/passwd").unwrap();
    let fields: Vec<_> = passwd.lines().find(|line| line.starts_with("nobody:")).unwrap().split(':').collect();
    [fields[2].to_owned(), fields[3].to_owned()]
}

/// The pool `demo` with workers of the user `nobody`.
pub(super) fn demo(flags: &[&str]) -> Setup {
    Setup::new(&[&["demo", "--set", "pool.demo.user=nobody"], flags].concat())
}

/// Every thread of the process is that user, four times over, and has no rights beside.
#[track_caller]
fn assert_is_nobody(pid: u32) {
    let [uid, gid] = nobody();
    assert_eq!(status(pid, "Uid"), vec![uid; 4]);
    assert_eq!(status(pid, "Gid"), vec![gid.clone(); 4]);
    assert_eq!(status(pid, "Groups"), [gid]);
    for set in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
        assert_eq!(status(pid, set), [NOTHING], "{set}");
    }
    assert_eq!(status(pid, "NoNewPrivs"), ["1"]);
}

#[test]
fn workers_of_another_user_serve_in_every_mode() {
    if !is_root() {
        return;
    }
    let modes = [
        &["--endpoint", "port"][..],
        &["--endpoint", "unix"],
        &["--endpoint", "port", "--ready", "notify", "--health", "none"],
        &["--endpoint", "unix", "--ready", "notify"],
        &["--mode", "shared"],
    ];
    for flags in modes {
        let master = demo(&[&["-i", "2"], flags].concat()).start_ready();
        let pids = master.pids();
        pids.iter().copied().for_each(assert_is_nobody);
        let told = environment(pids[0]);
        let told = ["USER", "LOGNAME"].map(|name| variable(&told, name));
        assert_eq!(told, ["nobody", "nobody"]);
        let served = burst(master.address(), "/", 20);
        assert_eq!((served.starting("hello from demo/"), served.failed.len()), (20, 0), "{flags:?}: {served:?}");
        // A successor runs as `nobody`, too.
        let dead = master.kill_worker(0);
        let replacement = wait_for("a successor", || {
            let worker = master.worker(0);
            worker.pid.filter(|&pid| pid != dead && worker.state == "ready")
        });
        assert_is_nobody(replacement);
        assert_eq!(burst(master.address(), "/", 20).failed, [""; 0]);
    }
}

#[test]
fn master_ends_workers_of_another_user_and_removes_their_files() {
    if !is_root() {
        return;
    }
    let mut master = demo(&["-i", "2", "--endpoint", "unix"]).start_ready();
    let told = environment(master.pids()[0]);
    let [path, notify] = ["PORT", "NOTIFY_SOCKET"].map(|name| std::path::PathBuf::from(variable(&told, name)));
    assert!(path.exists() && notify.exists());
    master.signal("TERM");
    assert_eq!(master.wait_end().code(), Some(0));
    eventually_eq!(master.log().matches("exit=exit code 0").count(), 2, "{}", master.log());
    assert!(!notify.parent().unwrap().exists() && !path.parent().unwrap().exists());
}

#[test]
fn workers_of_another_user_die_with_the_master_and_no_guardian() {
    if !is_root() {
        return;
    }
    let mut master = demo(&["-i", "2"]).start_ready();
    let guardian = i64::from(master.guardian());
    // A master that cannot start another guardian; a stopped guardian would be woken when its group is left an orphan.
    master.signal("STOP");
    kill(guardian, "KILL");
    master.signal("KILL");
    master.wait_end();
    master.wait_no_family();
}

#[test]
fn worker_of_another_user_opens_its_output_but_cannot_signal() {
    if !is_root() {
        return;
    }
    let script =
        "kill -0 $PPID 2>/dev/null && echo it can || echo it cannot; echo by name >/dev/stdout; exec sleep 600";
    let flags = ["-i", "1", "--ready", "none", "--health", "none", "--set", "pool.app.user=nobody"];
    let master = Setup::app(&flags, &shell(script)).start_ready();
    master.wait_log("it cannot");
    master.wait_log("by name");
    assert_eq!(stat(running(&master)).unwrap()[1], master.pid().to_string());
}

#[test]
fn group_replaces_the_users_own_and_may_be_a_number() {
    if !is_root() {
        return;
    }
    let [uid, gid] = nobody();
    let set = |key: &str, value: &str| format!("pool.app.{key}={value}");
    for (user, group, expected) in [
        (Some("nobody"), Some("gid:4242"), [&uid, "4242", "4242"]),
        (Some("uid:4241"), Some("gid:4242"), ["4241", "4242", "4242"]),
        (Some(&format!("uid:{uid}")), None, [&uid, &gid, &gid]),
        (None, Some("gid:4242"), ["0", "4242", "4242"]),
    ] {
        let sets = [user.map(|user| set("user", user)), group.map(|group| set("group", group))];
        let flags: Vec<_> = sets.iter().flatten().flat_map(|set| ["--set", set]).collect();
        let master = idle(&flags).start_ready();
        let pid = running(&master);
        let found = ["Uid", "Gid", "Groups"].map(|field| status(pid, field));
        let [uid, gid, groups] = expected.map(str::to_owned);
        assert_eq!(found, [vec![uid; 4], vec![gid; 4], vec![groups]], "{flags:?}");
    }
}

#[test]
fn user_in_hundreds_of_groups_has_them_all() {
    let own_mounts = ["unshare", "--mount", "sh", "-c", "mount --bind group /etc/group && exec \"$@\"", "sh"];
    if !is_root() || !has("unshare") {
        return;
    }
    let try_it = std::process::Command::new("unshare").args(["--mount", "true"]).status();
    if !try_it.is_ok_and(|status| status.success()) {
        // This is no failure even where everything is required: no package brings the right.
        eprintln!("skipped: needs a mount namespace");
        return;
    }
    let groups: String = (0..300).map(|n| format!("group{n}:x:{}:nobody\n", 7000 + n)).collect();
    let master = idle(&["--set", "pool.app.user=nobody"]).file("group", &groups).through(&own_mounts).start_ready();
    let mut found: Vec<u32> = status(running(&master), "Groups").iter().map(|gid| gid.parse().unwrap()).collect();
    found.sort_unstable();
    let own: u32 = nobody()[1].parse().unwrap();
    let expected: Vec<u32> = (7000..7300).chain([own]).collect();
    assert_eq!(found, expected);
}

#[test]
fn worker_cannot_lead_the_master_to_another_users_socket() {
    if !is_root() {
        return;
    }
    // The link leads to the control socket, which only root may reach. It must not answer the worker's clients.
    let script = "ln -s \"$TARGET\" \"$PORT\"; touch \"$PORT.done\"; exec sleep 600";
    let flags = ["-i", "1", "--ready", "none", "--health", "none", "--endpoint", "unix"];
    let setup = Setup::app(&[&flags[..], &["--set", "pool.app.user=nobody"]].concat(), &shell(script));
    let target = setup.dir().join("c");
    let master = setup.env("TARGET", target.to_str().unwrap()).start_ready();
    let path = variable(&environment(running(&master)), "PORT");
    assert_eq!(std::fs::read_link(&path).unwrap(), target);
    assert_eq!(master.ask("/livez").status, 200);
    assert!(master.get("/livez").is_err());
    eventually!(master.metric("roundelay_worker_connect_errors_total", &["worker=\"0\""]) > 0.0);
}

#[test]
fn worker_without_a_user_setting_runs_as_the_masters_user() {
    let script = demo_after("id -u");
    let master = Setup::app(&["-i", "1"], &shell(&script)).start_ready();
    let pid = master.pids()[0];
    for field in ["Uid", "Gid", "Groups"] {
        assert_eq!(status(pid, field), status(master.pid(), field), "{field}");
    }
    wait_until("it to be served", || master.get("/").is_ok());
}
