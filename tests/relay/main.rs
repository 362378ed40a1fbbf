//! Promises of the data path. Each is tested against scripted peers on loopback, with one and with two data threads.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod kit;

mod client_address;
mod connecting;
mod draining;
mod early_responses;
mod endings;
mod fidelity;
mod listening;
mod reclaiming;
mod recovering;
mod waiting;
