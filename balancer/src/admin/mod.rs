//! Health, metrics and state over HTTP, on two listeners: the control socket and the admin port.
//!
//! | path | what |
//! |---|---|
//! | `/` | a status page for people |
//! | `/livez` | 200 while this thread runs |
//! | `/readyz` | 200 while every pool has its `min-ready` workers and the master is not stopping, else 503 with the reason |
//! | `/metrics` | for Prometheus; [`catalog`](crate::stats::catalog) lists them |
//! | `/api/v1/state` | [`State`](crate::api::state::State) as JSON |
//!
//! All of these only read. Page, metrics and API are made from the same atomics and the same published status, so they
//! cannot disagree. Commands are given by `POST`, and taken on the control socket only:
//!
//! | path | body | what |
//! |---|---|---|
//! | `/api/v1/reload` | | read the configuration again, new workers for every pool |
//! | `/api/v1/pools/NAME/reload` | | the same for one |
//! | `/api/v1/pools/NAME/scale` | `{"workers": 4}`, `"+1"`, `"-1"`, `"max"`, `"auto"` | change the number of workers |
//! | `/api/v1/pools/NAME/restart`, `stop`, `start` | `{"slots": "0-3"}`, else all | what the word says |
//! | `/api/v1/shutdown` | `{"now": true}`, else after a drain | end the master |
//!
//! A command that has begun is answered by a stream of [`OperationLine`](crate::api::state::OperationLine)s, one JSON object each, as it goes on. It goes on if its
//! client closes the connection, and is dropped if the client did so before it began. A refused command is answered by a
//! problem document: 404 no such pool or worker, 409 busy or not possible, 422 mistakes in the configuration, 503 stopping.

pub mod commands;
mod connection_context;
mod context;
mod control;
pub mod control_socket;
mod metrics;
mod page;
mod requests;
mod respond;
mod routes;
mod server;
mod snapshot;
mod usage;

pub use context::{Context, Master};
pub use server::serve;

#[cfg(test)]
pub(crate) mod tests;
