//! What a Rust worker behind Roundelay needs, and Roundelay's demo worker.
//!
//! A worker needs no library at all: a program that listens on `$PORT` is one. This one adds what such a program has to
//! get right sooner or later: listening on whatever the master chose (a port, a unix path, an inherited socket), saying
//! when it is ready, leaving without cutting anybody off, and computing without going deaf.
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
//! It works as well with no master at all: `PORT=3000 ./worker`. `examples/` has an echo server, an HTTP server and one
//! that computes.
//!
//! | item | what it is |
//! |---|---|
//! | [`Worker`] | who am I, the next connection, ready, drain |
//! | [`Stream`] | a client connection, TCP or unix |
//! | [`Draining`] | the signal to finish, for connections that would stay open |
//! | [`http::serve`] | one HTTP/1 connection that answers once more and says `Connection: close` when the worker drains |
//! | [`Offload`] | CPU-heavy work on a bounded number of threads |
//! | [`Notifier`] | states for the supervisor: ready, status, stopping, alive |
//! | [`protocol`] | the names of the contract, shared with the master |
//! | [`demo`] | the worker that `roundelay` runs when it is given none |
//!
//! The feature `hyper`, on by default, holds [`http`] and [`demo`]; without it no HTTP is compiled.

#[cfg(feature = "hyper")]
pub mod demo;
mod error;
mod fds;
mod heartbeat;
#[cfg(feature = "hyper")]
pub mod http;
mod incoming;
mod listener;
mod notify;
mod offload;
pub mod protocol;
mod stream;
mod worker;

pub use error::StartError;
pub use fds::InheritError;
/// The hyper of [`http::serve`].
#[cfg(feature = "hyper")]
pub use hyper;
pub use listener::Endpoint;
pub use notify::{Notifier, NotifyError};
pub use offload::{Offload, OffloadError};
pub use stream::Stream;
pub use worker::{Draining, Worker};
