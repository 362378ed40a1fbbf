//! Health, metrics and state over HTTP, on two doors: the control socket and the admin port.
//!
//! | path | what |
//! |---|---|
//! | `/` | a status page for people |
//! | `/livez` | 200 while this thread runs |
//! | `/readyz` | 200 while every pool has its `min-ready` workers and the master is not stopping, else 503 with the reason |
//! | `/metrics` | for Prometheus; [`catalog`](crate::stats::catalog) lists them |
//! | `/api/v1/state` | [`view::State`] as JSON |
//!
//! All of it only reads. Page, metrics and API are made from the same atomics and the same published status, so they
//! cannot disagree.

mod collector;
mod context;
pub mod door;
mod page;
mod requests;
mod respond;
mod routes;
mod server;
mod snapshot;
mod usage;
pub mod view;
pub(crate) mod words;

pub use context::{Context, Master};
pub use server::serve;

#[cfg(test)]
pub(crate) mod tests;
