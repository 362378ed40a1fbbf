//! The built-in scenarios. Pure.

use std::collections::BTreeMap;
use std::num::NonZeroU32;

use super::scenario::{Event, Request, Scenario};

/// The requests on a connection in scenarios that are about something else.
const SOME: Option<NonZeroU32> = NonZeroU32::new(10);
/// One request on a connection.
const ONE: Option<NonZeroU32> = NonZeroU32::new(1);

/// Returns all of them, in the order of reports. `path` is requested in scenarios that any program can serve.
pub fn scenarios(path: &str) -> Vec<Scenario> {
    let get = |path: &str| vec![Request::get(path, 1.0)];
    let any = |name, about, per_connection, event| Scenario {
        name: String::from(name),
        about: String::from(about),
        requests: get(path),
        requests_per_connection: per_connection,
        event,
        worker_env: BTreeMap::new(),
        needs_demo: false,
    };
    let demo = |name, about, requests, per_connection, event| Scenario {
        requests,
        needs_demo: true,
        ..any(name, about, per_connection, event)
    };
    // Slot 1, so that `direct`, whose only worker is slot 0, does not get the slow one.
    let slow = BTreeMap::from([(String::from("DEMO_SLOW"), String::from("1:50"))]);
    let mixed = vec![Request::get("/block/1", 9.0), Request::get("/block/50", 1.0)];
    let long = Event::Request(String::from("/api/5000000000"));
    vec![
        any("uniform", "equal small requests, ten on each connection", SOME, None),
        Scenario {
            worker_env: slow,
            ..demo("slow-one", "one of the workers answers 50 ms later than the others", get("/"), ONE, None)
        },
        demo("mixed", "nine of ten requests hold their worker for 1 ms, the tenth for 50 ms", mixed, ONE, None),
        demo("cpu", "each request sums the numbers to 500,000", get("/api/500000"), ONE, None),
        demo(
            "cpu-one",
            "small requests, and beside them one that sums the numbers to 5,000,000,000",
            get("/"),
            ONE,
            Some(long),
        ),
        any("keepalive", "equal small requests on connections that stay", None, None),
        any("churn", "a new connection for each request", ONE, None),
        demo("large", "answers of 1 MiB, ten on each connection", get("/blob/1048576"), SOME, None),
        any("kill", "one worker is killed (SIGKILL)", ONE, Some(Event::Kill)),
        any("hang", "one worker hangs (SIGSTOP)", ONE, Some(Event::Hang)),
        any("reload", "all workers are replaced, one after the other", ONE, Some(Event::Reload)),
        any("scale", "twice as many workers", ONE, Some(Event::Scale)),
    ]
}

/// The scenarios of a quick comparison.
pub const QUICK: [&str; 3] = ["uniform", "slow-one", "kill"];
/// The scenarios of a comparison that is neither quick nor full.
pub const USUAL: [&str; 7] = ["uniform", "slow-one", "mixed", "keepalive", "churn", "kill", "reload"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scenario_names_are_unique_and_programs_get_the_given_path() {
        let all = scenarios("/cart");
        let mut names: Vec<_> = all.iter().map(|scenario| scenario.name.as_str()).collect();
        assert!(QUICK.iter().chain(&USUAL).all(|name| names.contains(name)));
        for scenario in &all {
            let asks_given = scenario.requests.iter().all(|request| request.path == "/cart");
            assert_eq!(asks_given, !scenario.needs_demo, "{}", scenario.name);
        }
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), all.len());
    }
}
