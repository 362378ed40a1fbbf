//! Tests with a worker and a master that each test controls.

mod ends;
mod handing_over;
#[cfg(feature = "messages")]
mod messages;
pub(crate) mod script;

use std::time::Duration;

use tokio::time::timeout;

use crate::{Stream, Worker};

use script::Master;

const DEADLINE: Duration = Duration::from_secs(10);

/// Returns the next connection; `None` when the worker has drained.
async fn accepted(worker: &mut Worker) -> Option<Stream> {
    timeout(DEADLINE, worker.accept()).await.expect("in time").expect("accepted")
}

/// Makes a worker and its master.
fn pair() -> (Worker, Master) {
    let (master, worker) = Master::pair();
    (Worker::over(worker), master)
}
