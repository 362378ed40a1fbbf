//! A checked load during which a worker is killed.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::time::Instant;

use super::{Master, clients, get, post, wait_until};

/// Clients that have one request each in flight.
pub(crate) const CLIENTS: usize = 8;
/// Requests of the whole load.
pub(crate) const REQUESTS: usize = 2000;

/// The result of a kill.
#[derive(Debug)]
pub(crate) struct Killed {
    /// The pid of the killed process.
    pub(crate) pid: u32,
    /// The time from before the signal until the successor was ready.
    during: (Instant, Instant),
    /// The requests without an answer, or with a wrong one.
    pub(crate) failed: Vec<Failed>,
}

/// The failure of a checked request, and the time of that request.
#[derive(Debug)]
pub(crate) struct Failed {
    #[expect(dead_code, reason = "for the message of a failed test")]
    what: String,
    is_refused: bool,
    from: Instant,
    to: Instant,
}

impl Killed {
    /// Checks that at most `most` requests failed, that none was refused, and that all of them were in flight when
    /// the worker died.
    #[track_caller]
    pub(crate) fn failed_only_in_flight(&self, most: usize) {
        let Self { failed, during, .. } = self;
        assert!(failed.iter().all(|failed| !failed.is_refused), "{failed:?}");
        assert!(failed.len() <= most, "more than were in flight: {failed:?}");
        let was_in_flight = |failed: &Failed| failed.from <= during.1 && failed.to >= during.0;
        assert!(failed.iter().all(was_in_flight), "not in flight at {during:?}: {failed:?}");
    }
}

/// Kills the worker of `slot` under a load of one-shot clients that check every answer of `/slow/:ms` and `/echo`.
#[track_caller]
pub(crate) fn kill_under_load(master: &Master, slot: usize) -> Killed {
    let address = master.address();
    let done = AtomicUsize::new(0);
    let request = |n| {
        let token = format!("token {n} of the load\n");
        let from = Instant::now();
        // A wait in every other request keeps requests in flight on every worker.
        let answer = match n % 2 {
            0 => get(address, "/slow/3").map(|answer| (answer, "waited 3 ms\n".to_owned())),
            _ => post(address, "/echo", &token).map(|answer| (answer, token)),
        };
        done.fetch_add(1, Ordering::Relaxed);
        let (what, is_refused) = match answer {
            Ok((answer, expected)) if (answer.status, &answer.body) == (200, &expected) => return Ok(None),
            Ok((answer, _)) => (format!("wrong answer {answer:?}"), false),
            Err(error) => (error.to_string(), error.kind() == std::io::ErrorKind::ConnectionRefused),
        };
        Ok(Some(Failed { what, is_refused, from, to: Instant::now() }))
    };
    std::thread::scope(|scope| {
        let load = scope.spawn(|| clients(CLIENTS, REQUESTS, request));
        wait_until("the load to flow", || done.load(Ordering::Relaxed) > REQUESTS / 4);
        let from = Instant::now();
        let pid = master.kill_worker(slot);
        wait_until("its death to be seen", || master.worker(slot).pid.is_some_and(|replacement| replacement != pid));
        let during = (from, Instant::now());
        assert!(done.load(Ordering::Relaxed) < REQUESTS, "the load ended before the worker was replaced");
        let failed = load.join().unwrap().into_iter().filter_map(|result| result.unwrap()).collect();
        Killed { pid, during, failed }
    })
}
