//! Health, metrics and state over HTTP, on two listeners: the control socket and the admin port.
//!
//! | path | answer |
//! |---|---|
//! | `/` | a status page for people |
//! | `/livez` | 200 while this thread runs |
//! | `/readyz` | 200 while every pool has its `min-ready` workers and the master is not stopping; else 503 with the
//! reason |
//! | `/metrics` | the metrics for Prometheus; [`catalog`](crate::stats::catalog) lists them |
//! | `/api/v1/state` | [`State`](crate::api::state::State) as JSON |
//!
//! All of these only read. Page, metrics and API are made from the same atomics and the same published status, so they
//! cannot disagree. Commands are sent with `POST`, on the control socket only:
//!
//! | path | body | command |
//! |---|---|---|
//! | `/api/v1/reload` | | load the configuration again, replace the workers of every pool |
//! | `/api/v1/pools/NAME/reload` | | the same for one pool |
//! | `/api/v1/pools/NAME/scale` | `{"workers": 4}`, `"+1"`, `"-1"`, `"max"`, `"auto"` | change the number of workers |
//! | `/api/v1/pools/NAME/restart`, `stop`, `start` | `{"slots": "0-3"}`; all slots without it | restart, stop or start
//! workers |
//! | `/api/v1/shutdown` | `{"now": true}`; drains first without it | end the master |
//!
//! A command that has begun is answered by a stream of [`OperationLine`](crate::api::state::OperationLine)s, one JSON
//! object each, written as the command goes on. If the client closes its connection before the command begins, the
//! command is dropped; afterwards it goes on. A refused command is answered by a problem document: 404 no such pool or
//! worker, 409 busy or not possible, 422 mistakes in the configuration, 503 stopping.

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
