//! A deploy that moves a symbolic link: the next process starts from the link's target at that time.

use std::fs;
use std::os::unix::fs::symlink;

use crate::kit::{
    BINARY, Master, Setup, carried_out, demo_after, environment, has, run_command, says, shell, variable, wait_until,
};

/// Makes a release: its number, and a configuration with that many workers.
fn release(folder: &std::path::Path, number: u32) {
    let folder = folder.join(format!("releases/{number}"));
    fs::create_dir_all(folder.join("app")).unwrap();
    fs::write(folder.join("app/version"), number.to_string()).unwrap();
    let script = demo_after("echo serving $(cat version) in $PWD");
    let file = format!(
        "[pool.app]\ncommand = {:?}\ncwd = \"app\"\nlisten = \"127.0.0.1:0\"\nworkers = {number}\nsettle = \"0s\"\n",
        shell(&script)
    );
    fs::write(folder.join("app.toml"), file).unwrap();
}

/// Points `current` to that release, by one rename as deploys do it.
fn deploy(folder: &std::path::Path, number: u32) {
    symlink(format!("releases/{number}"), folder.join("next")).unwrap();
    fs::rename(folder.join("next"), folder.join("current")).unwrap();
}

/// Runs a master with these arguments in `current`, as a shell does that has the link in its `PWD`.
fn in_current(args: &[&str]) -> Setup {
    let setup = Setup::new(args).without("ROUNDELAY_LISTEN").through(&["sh", "-c", "cd current && exec \"$@\"", "sh"]);
    release(setup.dir(), 1);
    deploy(setup.dir(), 1);
    setup
}

#[track_caller]
fn serves(master: &Master, number: u32) {
    let dir = master.dir().join("current/app");
    master.wait_log(&format!("serving {number} in {}\n", dir.display()));
    at_once_eq!(variable(&environment(master.pids()[0]), "PWD"), dir.display().to_string());
}

#[test]
fn reload_follows_the_link_and_reports_a_deleted_release() {
    let master = in_current(&["run", "-c", "app.toml"]).start_ready();
    serves(&master, 1);
    release(master.dir(), 2);
    deploy(master.dir(), 2);
    carried_out(&master, &["reload"]);
    serves(&master, 2);
    at_once_eq!(master.pids().len(), 2, "the file of the new release is read");
    // This removes the master's own directory, too.
    fs::remove_dir_all(master.dir().join("releases/1")).unwrap();
    let killed = master.kill_worker(0);
    wait_until("its successor", || master.worker(0).pid.is_some_and(|pid| pid != killed));
    master.wait_state(0, "ready");

    let pids = master.pids();
    fs::remove_dir_all(master.dir().join("releases/2/app")).unwrap();
    says(&run_command(&master, &["reload"]), 6, &["that workers of pool app start in is gone", "current/app"]);
    fs::remove_file(master.dir().join("current")).unwrap();
    says(&run_command(&master, &["reload"]), 1, &["cannot read", "current/app.toml: there is no such file"]);
    at_once_eq!(master.pids(), pids);

    release(master.dir(), 3);
    deploy(master.dir(), 3);
    assert_eq!(run_command(&master, &["reload"]).code, Some(0));
    serves(&master, 3);
}

#[test]
fn command_started_in_a_link_comes_from_its_new_target() {
    let command = ["sh", "-c", "echo serving $(cat app/version) in $PWD; exec \"$0\" demo-worker", BINARY];
    for mode in ["proxy", "shared", "handoff"] {
        let flags = ["run", "-n", "app", "-i", "1", "--mode", mode, "-l", "127.0.0.1:0", "--"];
        let master = in_current(&[&flags[..], &command].concat()).start_ready();
        release(master.dir(), 2);
        deploy(master.dir(), 2);
        fs::remove_dir_all(master.dir().join("releases/1")).unwrap();
        master.kill_worker(0);
        master.wait_log(&format!("serving 2 in {}\n", master.dir().join("current").display()));
        master.wait_state(0, "ready");
        // No release is left that could be started.
        fs::remove_dir_all(master.dir().join("releases")).unwrap();
        says(&run_command(&master, &["reload"]), 6, &["current that workers of pool app start in is gone"]);
        let killed = master.kill_worker(0);
        wait_until("a worker in what is left", || {
            let worker = master.worker(0);
            worker.state == "ready" && worker.pid != Some(killed)
        });
        master.wait_log("warning: cannot start in");
    }
}

#[test]
fn node_knows_the_directory_by_the_links_name() {
    if !has("node") {
        return;
    }
    let script = "console.log('in', process.env.PWD, require('fs').readFileSync('app/version', 'utf8'));
                  require('http').createServer((q, a) => a.end('x')).listen(process.env.PORT, '127.0.0.1')";
    let master =
        in_current(&["run", "-n", "app", "-i", "1", "-l", "127.0.0.1:0", "--", "node", "-e", script]).start_ready();
    let said = |number: u32| format!("in {} {number}\n", master.dir().join("current").display());
    master.wait_log(&said(1));
    release(master.dir(), 2);
    deploy(master.dir(), 2);
    carried_out(&master, &["reload"]);
    master.wait_log(&said(2));
}
