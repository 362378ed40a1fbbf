//! The first commands of a new user.

use crate::kit::{Setup, get_unix};

#[test]
fn roundelay_without_arguments_serves_a_demo_pool() {
    let master = Setup::new(&[]).start_ready();
    let bodies: Vec<_> = (0..4).map(|_| master.get("/").unwrap().body).collect();
    assert!(bodies[0].starts_with("hello from demo/"), "{bodies:?}");
    let slots: std::collections::BTreeSet<_> = bodies.iter().map(|body| &body[..17]).collect();
    assert!(slots.len() > 1, "one worker answered all: {bodies:?}");
    for part in ["built-in demo pool", "public", "round-robin over", "admin", "try    curl http://127.0.0.1:"] {
        master.wait_log(part);
    }
    assert_eq!(get_unix(&master.control, "/readyz").unwrap().status, 200);
}

#[test]
fn demo_serves_a_demo_pool_and_stops_cleanly() {
    let mut master = Setup::new(&["demo"]).start_ready();
    let pids = master.pids();
    assert_eq!(master.get("/health").unwrap().status, 200);
    master.signal("TERM");
    assert_eq!(master.wait_end().code(), Some(0));
    assert!(pids.iter().all(|&pid| !crate::kit::is_alive(pid)), "workers outlived their master");
}
