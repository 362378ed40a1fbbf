//! The closed loop: each client sends its next request when it has the answer to the last one. This measures the most
//! that a server can do, but it hides stalls: while no answer comes, no request is sent.

use std::rc::Rc;
use std::time::Duration;

use tokio::time::Instant;

use super::client::{Client, Outcome, Shared};
use super::thread_time;

/// The pause before a client that could not connect tries again, so that a dead server is not flooded.
const PAUSE: Duration = Duration::from_millis(5);

/// Runs that many clients for that time, and returns when the last answer has come. A good answer that comes after the
/// time does not count; a failure does.
pub(super) async fn run(shared: &Rc<Shared>, clients: usize, start: Instant, length: Duration) {
    let end = start + length;
    let before = thread_time();
    let drive = |number| tokio::task::spawn_local(drive(Rc::clone(shared), Client::new(shared.target, number), end));
    let tasks: Vec<_> = (0..clients).map(drive).collect();
    tokio::time::sleep_until(end).await;
    let cpu = thread_time().saturating_sub(before);
    shared.tally.borrow_mut().starts_nothing_more(length, cpu);
    for task in tasks {
        if let Err(error) = task.await
            && let Ok(defect) = error.try_into_panic()
        {
            // A bug in this program; it must not look like a client that had nothing to do.
            std::panic::resume_unwind(defect);
        }
    }
}

async fn drive(shared: Rc<Shared>, mut client: Client, end: Instant) {
    let mut now = Instant::now();
    while now < end {
        shared.tally.borrow_mut().start(None);
        let outcome = client.ask(&shared, now).await;
        let sent = now;
        now = Instant::now();
        {
            let mut tally = shared.tally.borrow_mut();
            let answer = client.answer();
            match outcome {
                Outcome::Good if now > end => {}
                Outcome::Good => tally.succeed(None, now - sent, answer.received(), answer.worker()),
                Outcome::Failed(class) | Outcome::Unconnected(class) => tally.fail(None, class),
                Outcome::OwnLimit => tally.take_back(),
            }
        }
        if matches!(outcome, Outcome::Unconnected(_) | Outcome::OwnLimit) {
            tokio::time::sleep(PAUSE).await;
            now = Instant::now();
        }
    }
}
