//! The generator: HTTP/1.1 requests from one thread, as fast as clients get their answers (*closed loop*), or by a fixed
//! schedule (*open loop*).

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::time::Duration;

use crate::plan::Request;
use crate::record::{Histogram, Tick};

/// What is asked of whom.
#[derive(Clone, Debug)]
pub struct Traffic {
    /// Who is asked. Only loopback addresses.
    pub target: SocketAddr,
    /// What is asked, at random by weight. Not empty.
    pub requests: Vec<Request>,
    /// Requests of one connection; none: it is kept as long as it lives.
    pub requests_per_connection: Option<NonZeroU32>,
    /// Clients of a closed loop. An open loop keeps as many connections, and opens more when all are busy.
    pub connections: usize,
    /// How long a request may take, its connect included.
    pub timeout: Duration,
    /// Decides the order of requests.
    pub seed: u64,
}

/// What the generator saw in one phase. The fields are those of [`crate::record::Phase`].
#[derive(Clone, Debug, Default)]
pub struct Observed {
    /// How long requests were started.
    pub seconds: f64,
    /// Requests started.
    pub started: u64,
    /// Complete answers of status 200 to 399.
    pub done: u64,
    /// Failures by the checker's classes.
    pub errors: BTreeMap<String, u64>,
    /// Due, and not started.
    pub not_started: u64,
    /// Of complete answers.
    pub latency: Histogram,
    /// How late requests were sent.
    pub lag: Histogram,
    /// Bytes of answers.
    pub bytes: u64,
    /// Answers by worker.
    pub answers: BTreeMap<String, u64>,
    /// Time of the generator's thread on a processor, while requests were started.
    pub generator_cpu: Duration,
    /// By when requests were due.
    pub timeline: Vec<Tick>,
}
