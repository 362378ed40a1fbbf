//! One scenario: which requests, over which connections, and what happens meanwhile. Pure.

use std::collections::BTreeMap;
use std::num::NonZeroU32;

/// A load and what happens to the workers under it.
#[derive(Clone, Debug, PartialEq)]
pub struct Scenario {
    /// Letters, digits and `-`.
    pub name: String,
    /// In a line, for people.
    pub about: String,
    /// The requests, chosen at random by weight. Not empty.
    pub requests: Vec<Request>,
    /// Requests of one connection; none: a connection is kept as long as it lives.
    pub requests_per_connection: Option<NonZeroU32>,
    /// The event under way, if any. Then there is no closed loop, and one open one.
    pub event: Option<Event>,
    /// Variables that the workers get besides their own.
    pub worker_env: BTreeMap<String, String>,
    /// Its paths or variables are the demo worker's; with another program it is skipped.
    pub needs_demo: bool,
}

/// One kind of request.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// Such as `GET`.
    pub method: String,
    /// With the query, such as `/api/500000`.
    pub path: String,
    /// Sent with its length; none has no body and no length.
    pub body: Option<String>,
    /// The weight, in proportion to the others'; above 0.
    pub weight: f64,
}

impl Request {
    /// A `GET` of that path.
    pub fn get(path: &str, weight: f64) -> Self {
        Self { method: String::from("GET"), path: String::from(path), body: None, weight }
    }
}

/// The event that happens to the workers, at [`Event::share`] of the phase.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// SIGKILL to one worker.
    Kill,
    /// SIGSTOP to one worker, until the end of the phase.
    Hang,
    /// A rolling reload of all workers.
    Reload,
    /// Twice as many workers.
    Scale,
    /// One request to that path, over a connection of its own, beside the others; its answer is not waited for.
    Request(String),
}

impl Event {
    /// Its word in files and reports.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::Hang => "hang",
            Self::Reload => "reload",
            Self::Scale => "scale",
            Self::Request(_) => "request",
        }
    }

    /// When it happens, as a part of the phase.
    pub fn share(&self) -> f64 {
        match self {
            Self::Kill | Self::Hang | Self::Scale => 0.4,
            // They have an end that should be seen.
            Self::Reload | Self::Request(_) => 0.2,
        }
    }
}
