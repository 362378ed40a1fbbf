//! The kinds of clients, and their actions in one operation.
//!
//! | kind | what it does | connections |
//! |---|---|---|
//! | `one-shot` | one request, with `Connection: close` | a new one each time |
//! | `keep-alive` | requests on kept connections; leaves one after the peer announced its end or ended it | kept |
//! | `stubborn` | the same, but goes on after `Connection: close` until the connection has really ended | kept |
//! | `half-close` | sends, ends its sending side, reads to the end | a new one each time |
//! | `upload` | a large body that must come back | a new one each time |
//! | `slow-reader` | reads a large answer in small pieces with pauses | a new one each time |
//! | `websocket` | small messages at intervals, each must come back; over HTTP chunks both ways | a new one, long |

mod exchanging;
mod session;

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Serialize, Serializer};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::exchange::Trace;
use crate::failure::{self, Class, End, Failure};
use crate::plan::Plan;
use crate::pool::Pool;
use crate::recorder::Recorder;
use crate::schedule::Operation;

/// A kind of client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ClientKind {
    /// Makes one request on each connection.
    OneShot,
    /// Keeps connections, and leaves one when an answer announces its end.
    KeepAlive,
    /// Keeps connections until they have really ended.
    Stubborn,
    /// Ends its sending side after the request.
    HalfClose,
    /// Sends a large body.
    Upload,
    /// Reads a large answer slowly.
    SlowReader,
    /// Keeps a connection open for messages both ways.
    WebSocket,
}

impl ClientKind {
    /// All kinds.
    pub const ALL: [Self; 7] = [
        Self::OneShot,
        Self::KeepAlive,
        Self::Stubborn,
        Self::HalfClose,
        Self::Upload,
        Self::SlowReader,
        Self::WebSocket,
    ];

    /// Returns the name that reports and options use.
    pub fn name(self) -> &'static str {
        match self {
            Self::OneShot => "one-shot",
            Self::KeepAlive => "keep-alive",
            Self::Stubborn => "stubborn",
            Self::HalfClose => "half-close",
            Self::Upload => "upload",
            Self::SlowReader => "slow-reader",
            Self::WebSocket => "websocket",
        }
    }
}

impl fmt::Display for ClientKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for ClientKind {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let known = || Self::ALL.map(Self::name).join(", ");
        let found = Self::ALL.into_iter().find(|kind| kind.name() == name);
        found.ok_or_else(|| format!("`{name}` is not a kind of client; the kinds are {}", known()))
    }
}

impl Serialize for ClientKind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

/// Kinds of clients with their weights: the share of a kind is its weight divided by the sum of all weights.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mix(Vec<(ClientKind, u16)>);

impl Mix {
    /// Makes a mix of one kind alone.
    pub fn only(kind: ClientKind) -> Self {
        Self(vec![(kind, 1)])
    }

    /// Returns each kind as often as its weight.
    pub(crate) fn cards(&self) -> impl Iterator<Item = ClientKind> {
        self.0.iter().flat_map(|&(kind, weight)| std::iter::repeat_n(kind, weight.into()))
    }
}

impl FromStr for Mix {
    type Err = String;

    /// Reads `KIND=WEIGHT`, several with commas. A kind without a weight has 1. Weights are 0 to 65535, not all 0.
    fn from_str(text: &str) -> Result<Self, String> {
        let one = |part: &str| {
            let (kind, weight) = part.split_once('=').unwrap_or((part, "1"));
            let weight = weight.parse::<u16>().map_err(|_| format!("`{weight}` is not a weight from 0 to 65535"))?;
            Ok((kind.parse::<ClientKind>()?, weight))
        };
        let mix = text.split(',').map(one).collect::<Result<Vec<_>, String>>()?;
        if mix.iter().all(|(_, weight)| *weight == 0) {
            return Err("all weights are 0".to_owned());
        }
        Ok(Self(mix))
    }
}

impl fmt::Display for Mix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let one = |(kind, weight): &(ClientKind, u16)| format!("{kind}={weight}");
        f.write_str(&self.0.iter().map(one).collect::<Vec<_>>().join(","))
    }
}

/// The state that all operations of a load share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) plan: Arc<Plan>,
    pub(crate) recorder: Recorder,
    /// One pool for each target.
    pub(crate) keep_alive: Vec<Arc<Pool>>,
    pub(crate) stubborn: Vec<Arc<Pool>>,
    /// The start of the load.
    pub(crate) start: Instant,
    /// True when sessions should end.
    pub(crate) ending: watch::Receiver<bool>,
}

/// The result of an operation that ended well.
#[derive(Debug, Default)]
struct Success {
    /// The time at which its latency ends.
    at: Option<Instant>,
    worker: Option<String>,
}

/// Runs one operation and records the result.
pub(crate) async fn run(shared: Arc<Shared>, operation: Operation) {
    let intended = shared.start + operation.at;
    let kind = operation.kind;
    shared.recorder.change(|record| {
        record.start(kind, intended.elapsed());
        record.silence_mut().asked(shared.start.elapsed());
    });
    let mut trace = Trace::default();
    let ended = match kind {
        ClientKind::OneShot | ClientKind::HalfClose | ClientKind::Upload | ClientKind::SlowReader => {
            exchanging::alone(&shared, &operation, &mut trace).await
        }
        ClientKind::KeepAlive => exchanging::kept(&shared, &shared.keep_alive, &operation, &mut trace).await,
        ClientKind::Stubborn => exchanging::kept(&shared, &shared.stubborn, &operation, &mut trace).await,
        ClientKind::WebSocket => session::run(&shared, &operation, &mut trace).await,
    };
    let now = Instant::now();
    shared.recorder.change(|record| match ended {
        Ok(Success { at, worker }) => {
            record.succeed(kind, at.map(|at| at.saturating_duration_since(intended)), worker.as_deref());
            record.silence_mut().answered(now.saturating_duration_since(shared.start));
        }
        Err(end) if failure::is_own_limit(trace.stage, &end) => record.take_back(kind, "no ports or descriptors left"),
        Err(end) => {
            let class = failure::classify(trace.stage, &end);
            let detail = match &end {
                End::Status(status) => Some(format!("status {status}")),
                End::Error(errno) if class == Class::Other => Some(errno.to_string()),
                _ => None,
            };
            let failure = Failure {
                class,
                kind,
                token: operation.token.to_string(),
                at: operation.at,
                ended: now - shared.start,
                target: shared.plan.targets[operation.target].to_string(),
                what: failure::describe(trace.stage, &end),
            };
            record.fail(failure, detail);
        }
    });
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::plan::Protocol;
    use crate::record::Record;
    use crate::schedule::Schedule;

    #[test]
    fn kinds_and_mixes_are_parsed_as_they_are_written() {
        for kind in ClientKind::ALL {
            assert_eq!(kind.name().parse(), Ok(kind));
        }
        let mix: Mix = "one-shot=8,keep-alive".parse().unwrap();
        assert_eq!(mix.to_string(), "one-shot=8,keep-alive=1");
        assert_eq!(mix.cards().count(), 9);
        for wrong in ["", "one-shot=", "one-shot=-1", "one-shot=0", "oneshot=1", "one-shot=1,"] {
            assert!(wrong.parse::<Mix>().is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn latency_of_a_late_operation_counts_from_its_due_start() {
        const LATE: Duration = Duration::from_secs(3);
        let server = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let mut plan = Plan::new(server.local_addr().unwrap());
        plan.protocol = Protocol::Tcp;
        let echo = std::thread::spawn(move || {
            let (mut stream, _) = server.accept().unwrap();
            std::io::copy(&mut stream.try_clone().unwrap(), &mut stream).unwrap();
        });
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let recorder = Recorder::new(Record::new(1));
        let operation = Schedule::new(&plan).next().unwrap();
        runtime.block_on(async {
            let start = Instant::now().checked_sub(LATE).unwrap();
            let (_, ending) = watch::channel(false);
            let (keep_alive, stubborn) = (Vec::new(), Vec::new());
            let plan = Arc::new(plan);
            let shared = Shared { plan, recorder: recorder.clone(), keep_alive, stubborn, start, ending };
            run(Arc::new(shared), operation).await;
        });
        echo.join().unwrap();
        let record = recorder.change(|record| record.clone());
        assert_eq!(record.good(), 1, "{:?}", record.failures());
        assert!(record.latency().max() >= LATE && record.lag().max() >= LATE, "{record:?}");
    }
}
