//! A server that greets each client. The master changes the greeting, and the worker reports each change.
//!
//! Under a master that hands connections over: `roundelay run --mode handoff -- target/debug/examples/messages`.
//!
//! Without a master it greets, too, but no message ever comes: `PORT=3000 cargo run -p worker-runtime --example
//! messages`.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::AsyncWriteExt;
use worker_runtime::Worker;

/// A message of the master, as JSON: `{"greeting": "good evening"}`.
#[derive(serde::Deserialize)]
struct Order {
    greeting: String,
}

/// The worker's answer: `{"greets": "good evening"}`.
#[derive(serde::Serialize)]
struct Report {
    greets: String,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut worker = Worker::from_env().await?;
    let greeting = Arc::new(Mutex::new("hello".to_owned()));
    let (messages, current) = (worker.messages(), Arc::clone(&greeting));
    // It ends when the worker drains.
    worker.spawn(async move {
        while let Some(order) = messages.recv::<Order>().await {
            match order {
                Ok(Order { greeting }) => {
                    current.lock().unwrap_or_else(PoisonError::into_inner).clone_from(&greeting);
                    let _ = messages.send(&Report { greets: greeting });
                }
                Err(error) => eprintln!("ignored: {error}"),
            }
        }
    });
    worker.ready().await?;
    while let Some(mut client) = worker.accept().await? {
        // In mode `handoff` this is the client's own address.
        let who = client.peer_addr().map_or("you".to_owned(), |address| address.to_string());
        let line = format!("{}, {who}\n", greeting.lock().unwrap_or_else(PoisonError::into_inner));
        worker.spawn(async move {
            let _ = client.write_all(line.as_bytes()).await;
            client.linger().await;
        });
    }
    worker.finish().await;
    Ok(())
}
