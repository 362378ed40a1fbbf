//! One scenario: its requests, their connections, and an event. Pure.

use std::collections::BTreeMap;
use std::num::NonZeroU32;

/// A load, and an event that happens to the workers under it.
#[derive(Clone, Debug, PartialEq)]
pub struct Scenario {
    /// Letters, digits and `-`.
    pub name: String,
    /// One line for people.
    pub about: String,
    /// The requests, chosen at random by weight. Not empty.
    pub requests: Vec<Request>,
    /// The number of requests on a connection; `None` keeps a connection as long as it lives.
    pub requests_per_connection: Option<NonZeroU32>,
    /// The event, if any. With one there is no closed loop, and one open loop.
    pub event: Option<Event>,
    /// Variables that the workers get in addition to their usual ones.
    pub worker_env: BTreeMap<String, String>,
    /// True if it needs the demo worker's paths or variables; with another program it is skipped.
    pub needs_demo: bool,
}

/// One kind of request.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// The method, such as `GET`.
    pub method: String,
    /// The path with its query, such as `/api/500000`.
    pub path: String,
    /// The body, sent with its length; `None` sends neither body nor length.
    pub body: Option<String>,
    /// The weight, in proportion to the others'; above 0.
    pub weight: f64,
}

impl Request {
    /// Returns a `GET` of that path.
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
    /// Returns its name in files and reports.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::Hang => "hang",
            Self::Reload => "reload",
            Self::Scale => "scale",
            Self::Request(_) => "request",
        }
    }

    /// Returns the time at which it happens, as a part of the phase.
    pub fn share(&self) -> f64 {
        match self {
            Self::Kill | Self::Hang | Self::Scale => 0.4,
            // These events have an end that the phase should still show.
            Self::Reload | Self::Request(_) => 0.2,
        }
    }
}
