//! Settings that cannot go with a listener for each worker.

use super::demo;
use crate::kit::{BINARY, Setup, run_command, says};

#[test]
fn another_number_of_workers_is_refused_with_the_reason() {
    let master = demo("2", &[]).start_ready();
    let pids = master.pids();
    for size in ["3", "1", "+1"] {
        let words = ["in mode reuseport each worker", "needs a restart of the master, or mode shared"];
        says(&run_command(&master, &["scale", "demo", size]), 6, &words);
    }
    at_once_eq!((master.pids(), master.pool().workers_desired), (pids, 2));
}

#[test]
fn reload_with_another_size_or_address_changes_nothing() {
    let file = |workers: u32, more: &str| {
        format!(
            "[pool.app]\ncommand = [\"{BINARY}\", \"demo-worker\"]\nmode = \"reuseport\"\nworkers = {workers}\n{more}\n"
        )
    };
    let address = "listen = \"127.0.0.1:0\"";
    let setup = Setup::new(&["run", "-c", "r.toml"]).without("ROUNDELAY_LISTEN").file("r.toml", &file(2, address));
    let master = setup.start_ready();
    let pids = master.pids();
    for (text, what) in [
        (file(3, address), "pool.app.workers: 2 -> 3 needs a restart of the master"),
        (file(2, "listen = [\"127.0.0.1:0\", \"[::1]:0\"]"), "pool.app.listen: "),
    ] {
        std::fs::write(master.dir().join("r.toml"), text).unwrap();
        says(&run_command(&master, &["reload"]), 6, &[what, "needs a restart of the master"]);
    }
    at_once_eq!((master.pids(), master.pool().generation), (pids, 1));
}

#[test]
fn unix_address_is_refused_with_the_mode_to_use() {
    let ended = demo("2", &["-l", "127.0.0.1:0", "-l", "unix:/nowhere/a"]).run_to_end();
    let words =
        ["in mode `reuseport` each worker has a listener of its own", "at unix:/nowhere/a", "use mode `shared`"];
    says(&ended, 2, &words);
}

#[test]
fn second_master_on_the_same_address_is_refused() {
    let first = demo("2", &[]).start_ready();
    let address = first.address().to_string();
    let second = demo("2", &["-l", &address]).run_to_end();
    says(&second, 1, &[&format!("cannot listen on {address}"), &format!("held by roundelay (pid {})", first.pid())]);
}
