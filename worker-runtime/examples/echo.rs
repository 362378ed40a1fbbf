//! TCP echo.
//!
//! Alone: `PORT=3000 cargo run -p worker-runtime --example echo`.
//! Under a master: `roundelay run -- target/debug/examples/echo`.
//!
//! On SIGTERM it accepts every client that is already in its queue, then closes its listener. An echo has no
//! `Connection: close` to tell a client to leave. So connections stay open until their clients end them, or until the
//! master's deadline has passed.

use tokio::io::{copy, split};
use worker_runtime::Worker;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut worker = Worker::from_env().await?;
    worker.ready().await?;
    // `accept` returns `None` when the worker drains and the queue is empty.
    while let Some(client) = worker.accept().await? {
        let (mut from, mut to) = split(client);
        worker.spawn(async move { copy(&mut from, &mut to).await });
    }
    worker.finish().await;
    Ok(())
}
