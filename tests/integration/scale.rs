//! The number of workers changes under load, and no client notices.

use crate::kit::{
    BINARY, COOPERATIVE, Kept, Master, Setup, Traffic, carried_out, demo_after, environment, for_each, ledger, report,
    run_command, running_command, says, shell, variable, wait_until,
};

#[test]
fn scaling_up_down_and_by_one_loses_no_client() {
    loses_nothing(&[]);
}

#[test]
fn scaling_of_accepting_workers_loses_no_client() {
    loses_nothing(&["--mode", "shared"]);
}

#[track_caller]
fn loses_nothing(flags: &[&str]) {
    let master = Setup::new(&[&["demo", "-i", "2"], flags].concat()).start_ready();
    let traffic = Traffic::start(&master, COOPERATIVE);
    let first = master.pids();
    for (size, workers) in [("4", 4), ("4", 4), ("+1", 5), ("-1", 4), ("1", 1), ("+2", 3), ("2", 2)] {
        let before = master.pids();
        let report = carried_out(&master, &["scale", "demo", size]);
        assert_eq!((report.verb.as_str(), report.generation), ("scale", 1));
        let (pool, after) = (master.pool(), master.pids());
        assert_eq!((pool.workers_desired, pool.workers_ready, after.len()), (workers, workers, workers as usize));
        let kept = before.len().min(after.len());
        assert_eq!(after[..kept], before[..kept], "those that stay are not touched");
        let list = run_command(&master, &["list"]).stdout;
        assert!(list.contains(&format!("{workers}/{workers}")), "{list}");
        assert_eq!(list.matches("demo/").count(), workers as usize, "{list}");
        traffic.flows();
    }
    at_once_eq!(master.pids()[0], first[0]);
    traffic.lost_nothing();
}

#[test]
fn removed_workers_finish_their_requests() {
    let master = Setup::new(&["demo", "-i", "2"]).start_ready();
    let clients = [(); 2].map(|()| crate::kit::send_get(master.address(), "/slow/3000").unwrap());
    wait_until("each to have one", || master.workers().iter().all(|worker| worker.active == Some(1)));
    let mut kept = [(); 2].map(|()| Kept::connect(master.address()));
    kept.iter_mut().for_each(|kept| drop(kept.get("/")));
    let scale = running_command(&master, &["scale", "demo", "1", "--json"]);
    wait_until("the drain", || master.workers().get(1).is_some_and(|worker| worker.state == "draining"));
    for client in clients {
        assert_eq!(crate::kit::read_answer(client).unwrap().body, "waited 3000 ms\n");
    }
    let ended = scale.join().unwrap();
    assert_eq!((ended.code, ledger(&report(&ended)).cut), (Some(0), 0), "{ended:?}");
    at_once_eq!(master.workers().len(), 1);
}

#[test]
fn impossible_size_is_refused() {
    let master = Setup::new(&["demo", "-i", "2"]).start_ready();
    let pids = master.pids();
    for (size, code) in [("+1023", 6), ("-2", 6), ("1025", 2), ("0", 2), ("many", 2), ("99999999999", 2)] {
        says(&run_command(&master, &["scale", "demo", size]), code, &["1 to 1024"]);
    }
    at_once_eq!((master.pids(), master.pool().workers_desired), (pids, 2));
}

#[test]
fn scaling_up_a_program_that_no_longer_starts_is_given_up() {
    let script = demo_after("if test -e broken; then echo 'the disk is full' >&2; exit 5; fi");
    let master = Setup::app(&["-i", "2"], &shell(&script)).start_ready();
    let (pids, traffic) = (master.pids(), Traffic::start(&master, COOPERATIVE));
    master.touch("broken");
    let ended = run_command(&master, &["scale", "app", "4"]);
    says(&ended, 1, &["error: scale of app failed", "exit code 5", "the disk is full"]);
    let pool = master.pool();
    at_once_eq!((pool.workers_desired, pool.workers_ready, master.pids()), (2, 2, pids.clone()));
    assert_eq!(pool.last_report.unwrap().result, "failed");
    master.remove("broken");
    carried_out(&master, &["scale", "app", "4"]);
    at_once_eq!(master.pids()[..2], pids);
    traffic.lost_nothing();
}

/// A file with one pool `app` of that many workers.
fn file(workers: u32, command: &str) -> String {
    format!("[pool.app]\ncommand = {command}\nlisten = \"127.0.0.1:0\"\nworkers = {workers}\n")
}

/// The jobs that each worker takes, of twelve that are split by its number and the number of workers, in order.
#[track_caller]
fn jobs(master: &Master) -> Vec<u32> {
    let split = |pid: u32| {
        let environment = environment(pid);
        let number = |name: &str| variable(&environment, name).parse::<u32>().unwrap();
        let (worker, workers) = (number("ROUNDELAY_WORKER"), number("ROUNDELAY_WORKERS"));
        (0..12).filter(move |job| job % workers == worker)
    };
    let mut jobs: Vec<u32> = master.pids().into_iter().flat_map(split).collect();
    jobs.sort_unstable();
    jobs
}

#[test]
fn reload_tells_new_processes_the_new_number_of_workers() {
    let all: Vec<u32> = (0..12).collect();
    let command = format!("['{BINARY}', 'demo-worker']");
    for_each(&[&[][..], &["--mode", "shared"]], |&flags| {
        let setup = Setup::new(&[&["run", "-c", "app.toml"], flags].concat()).without("ROUNDELAY_LISTEN");
        let master = setup.file("app.toml", &file(4, &command)).with("app", &["settle=100ms"]).start_ready();
        at_once_eq!(jobs(&master), all);
        for workers in [2, 4, 3, 3] {
            std::fs::write(master.dir().join("app.toml"), file(workers, &command)).unwrap();
            carried_out(&master, &["reload"]);
            at_once_eq!(master.pids().len(), workers as usize);
            at_once_eq!(jobs(&master), all, "{workers} workers, {flags:?}");
        }
        // After a scale only workers that start then learn the new number; a reload tells all.
        let old = master.pids();
        carried_out(&master, &["scale", "app", "4"]);
        let told = |pid: u32| variable(&environment(pid), "ROUNDELAY_WORKERS");
        at_once_eq!(master.pids().into_iter().map(told).collect::<Vec<_>>(), ["3", "3", "3", "4"]);
        at_once_eq!(master.pids()[..3], old);
        carried_out(&master, &["reload"]);
        at_once_eq!(jobs(&master), all, "after a scale and a reload");
    });
}

#[test]
fn failed_reload_restores_the_worker_count_for_all() {
    let script = format!("if test $ROUNDELAY_WORKER -ge 2; then exit 3; fi; exec '{BINARY}' demo-worker");
    let command = format!("['sh', '-c', \"{script}\"]");
    let setup = Setup::new(&["run", "-c", "app.toml"]).without("ROUNDELAY_LISTEN");
    let master = setup.file("app.toml", &file(2, &command)).start_ready();
    std::fs::write(master.dir().join("app.toml"), file(4, &command)).unwrap();
    says(&run_command(&master, &["reload"]), 1, &["exit code 3"]);
    at_once_eq!(master.pids().len(), 2);
    at_once_eq!(jobs(&master), (0..12).collect::<Vec<u32>>());
    // A worker that starts later is told the same.
    let killed = master.kill_worker(0);
    wait_until("another", || master.worker(0).state == "ready" && master.worker(0).pid != Some(killed));
    at_once_eq!(jobs(&master), (0..12).collect::<Vec<u32>>());
}
