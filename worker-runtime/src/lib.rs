//! Library for Rust workers behind Roundelay, and Roundelay's demo worker.
//!
//! A worker needs no library: any program that listens on `$PORT` is a worker. This library adds the parts that such a
//! program needs sooner or later:
//!
//! - connections from the source that the master chose: a port, a unix path, an inherited socket, or sockets that are
//!   handed over one by one;
//! - readiness: the worker tells the master when it is ready;
//! - graceful shutdown: the worker drains and exits without cutting a client off;
//! - CPU-heavy work that does not block the accept loop.
//!
//! ```no_run
//! use tokio::io::AsyncWriteExt;
//! use worker_runtime::Worker;
//!
//! #[tokio::main(flavor = "current_thread")]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let mut worker = Worker::from_env().await?;
//!     worker.ready().await?;
//!     while let Some(mut client) = worker.accept().await? {
//!         let greeting = format!("hello from {}/{}\n", worker.pool(), worker.slot());
//!         worker.spawn(async move { client.write_all(greeting.as_bytes()).await });
//!     }
//!     worker.finish().await;
//!     Ok(())
//! }
//! ```
//!
//! A worker runs without a master, too: `PORT=3000 ./worker`. `examples/` has an echo server, an HTTP server, a server
//! that computes, and one that exchanges messages with its master.
//!
//! | item | what it is |
//! |---|---|
//! | [`Worker`] | this process: its pool and slot, the next connection, ready, drain |
//! | [`Stream`] | a client connection, TCP or unix, accepted here or handed over by the master |
//! | [`Endpoint`] | the source of connections |
//! | [`Messages`] | typed messages between the program and a master that hands connections over |
//! | [`Draining`] | the signal to finish, for connections that would stay open |
//! | [`http::serve`] | serves one HTTP/1 connection, and answers with `Connection: close` when the worker drains |
//! | [`Offload`] | CPU-heavy work on a fixed number of threads |
//! | [`Notifier`] | states for the supervisor: ready, status, stopping, alive |
//! | [`protocol`] | the names of the worker contract and the packets of the channel, shared with the master |
//! | [`demo`] | the built-in worker of `roundelay demo` |
//!
//! Two features, both on by default: `hyper` contains [`http`] and [`demo`]; without it no HTTP is compiled. `messages`
//! contains [`Messages`]; without it no JSON is compiled.

mod channel;
#[cfg(feature = "hyper")]
pub mod demo;
mod draining;
mod error;
mod fds;
mod heartbeat;
#[cfg(feature = "hyper")]
pub mod http;
mod incoming;
mod listener;
#[cfg(feature = "messages")]
mod messages;
mod notify;
mod offload;
pub mod protocol;
mod stream;
mod worker;

pub use draining::Draining;
pub use error::StartError;
pub use fds::InheritError;
/// The version of hyper that [`http::serve`] uses.
#[cfg(feature = "hyper")]
pub use hyper;
pub use listener::Endpoint;
#[cfg(feature = "messages")]
pub use messages::{MessageError, Messages};
pub use notify::{Notifier, NotifyError};
pub use offload::{Offload, OffloadError};
pub use stream::Stream;
pub use worker::Worker;
