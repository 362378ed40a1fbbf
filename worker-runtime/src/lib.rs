//! What a Rust worker behind Roundelay needs, and Roundelay's demo worker.
//!
//! A worker needs no library at all: a program that listens on `$PORT` is one. This one adds what such a program has to
//! get right sooner or later: connections from wherever the master chose (a port, a unix path, an inherited socket, or
//! handed over one by one), saying when it is ready, leaving without cutting anybody off, and computing without going deaf.
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
//! It works as well with no master at all: `PORT=3000 ./worker`. `examples/` has an echo server, an HTTP server, one that
//! computes and one that talks with its master.
//!
//! | item | what it is |
//! |---|---|
//! | [`Worker`] | who am I, the next connection, ready, drain |
//! | [`Stream`] | a client connection, TCP or unix, listened for or handed over |
//! | [`Endpoint`] | where connections come from |
//! | [`Messages`] | typed news between the program and a master that hands connections over |
//! | [`Draining`] | the signal to finish, for connections that would stay open |
//! | [`http::serve`] | one HTTP/1 connection that answers once more and says `Connection: close` when the worker drains |
//! | [`Offload`] | CPU-heavy work on a bounded number of threads |
//! | [`Notifier`] | states for the supervisor: ready, status, stopping, alive |
//! | [`protocol`] | the names of the contract and the packets of the channel, shared with the master |
//! | [`demo`] | the worker that `roundelay` runs when it is given none |
//!
//! Two features, both on by default: `hyper` holds [`http`] and [`demo`]; without it no HTTP is compiled. `messages` holds
//! [`Messages`]; without it no JSON is.

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
/// The hyper of [`http::serve`].
#[cfg(feature = "hyper")]
pub use hyper;
pub use listener::Endpoint;
#[cfg(feature = "messages")]
pub use messages::{MessageError, Messages};
pub use notify::{Notifier, NotifyError};
pub use offload::{Offload, OffloadError};
pub use stream::Stream;
pub use worker::Worker;
