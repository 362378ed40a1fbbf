//! Promises of the data path. Each is tested against scripted peers on loopback, with one and with two data threads.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod kit; // a pool without processes, and its scripted peers

mod client_address; // a worker gets the PROXY header first and exactly once
mod connecting; // another worker is chosen when one cannot be reached
mod draining; // a draining worker keeps what is pending and loses what is idle
mod early_responses; // an answer that comes before the end of the request arrives whole
mod endings; // idle timeouts, drains and cuts end exactly what they should
mod fidelity; // client and worker see the bytes and ends that they would see directly
mod listening; // listeners and pools come and go while the data threads run
mod reclaiming; // silent clients do not keep new ones out at the limit
mod recovering; // a dead worker's queue is answered by another worker
mod waiting; // the number of clients that wait for an answer is exact
