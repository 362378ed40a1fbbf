//! A worker and a master that does what each test says.

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

/// The next connection; `None` when the worker has drained.
async fn accepted(worker: &mut Worker) -> Option<Stream> {
    timeout(DEADLINE, worker.accept()).await.expect("in time").expect("accepted")
}

/// A worker and its master.
fn pair() -> (Worker, Master) {
    let (master, worker) = Master::pair();
    (Worker::over(worker), master)
}
