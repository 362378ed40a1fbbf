//! The plan of a load: its targets, rate, requests and length. Pure, except that names are looked up.

use std::fmt;
use std::net::{SocketAddr, ToSocketAddrs};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use crate::client_kinds::{ClientKind, Mix};
use crate::content::Token;

/// The highest rate, in operations a second. One thread does not reach it.
const MAX_RATE: f64 = 1_000_000.0;

/// One load. Make it with [`Plan::new`] and change what you need.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The targets. Operations go to them in turn. Not empty.
    pub targets: Vec<Target>,
    /// The protocol. Default: HTTP, echo.
    pub protocol: Protocol,
    /// The kinds of clients. Default: one-shot only.
    pub kinds: Mix,
    /// The number of operations a second, above 0. Default 100.
    pub rate: f64,
    /// The end of the load. Default: after 10 s.
    pub length: Length,
    /// The time limit of an operation, from its start and without its own pauses. Each message of a websocket has this
    /// limit. Default 10 s.
    pub timeout: Duration,
    /// The most open operations. Further ones are not started, and counted as such. Default 2000.
    pub max_open: usize,
    /// Decides the order of kinds, the sizes of uploads, and the tokens. Default: a random seed.
    pub seed: u64,
    /// The size of ordinary contents in bytes. If contents carry a token, at least [`Token::LENGTH`]. Default 256.
    pub bytes: u64,
    /// The number of connections that each keep-alive kind keeps to each target. When all are busy, clients open more,
    /// and close the surplus after its answer. Default 16.
    pub connections: usize,
    /// The size of uploads in bytes. Default 1 to 8 MiB.
    pub upload: RangeInclusive<u64>,
    /// The pace of slow readers.
    pub slow: Slow,
    /// The messages of websockets.
    pub session: Session,
    /// The paths of HTTP requests.
    pub paths: Paths,
    /// The number of failures that are kept with their description. All failures are counted. Default 100.
    pub keep_failures: usize,
}

/// The address that gets requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// An address and port.
    Tcp(SocketAddr),
    /// The path of a unix socket.
    Unix(PathBuf),
}

/// The protocol of the load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1.
    Http(Ask),
    /// Raw bytes, which come back unchanged.
    Tcp,
}

/// The answer that ordinary HTTP requests ask for. Uploads and websockets always ask for the echo, slow readers for the
/// blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// `POST /echo`: the body comes back.
    Echo,
    /// `GET /blob/:bytes`: that many bytes. The byte at offset i is i mod 251.
    Blob,
    /// `GET /`: a line that names the worker, such as `hello from demo/1 (pid 40113), request 17`.
    Worker,
    /// `GET` of any path, for programs that have none of the other paths. Any complete answer is good. Its end is
    /// checked by its framing (a length, chunks, or the end of the connection), and its bytes are not compared. So
    /// without a length or chunks an early end looks complete.
    Page,
}

/// The end of a load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Length {
    /// After that time.
    For(Duration),
    /// After that many operations.
    Count(u64),
    /// When the load is stopped.
    UntilStopped,
}

/// The pace of slow readers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slow {
    /// The size of the answer. Default 2 MiB.
    pub bytes: u64,
    /// The number of bytes between two pauses. Default 32 KiB.
    pub piece: usize,
    /// The length of a pause. Default 10 ms.
    pub pause: Duration,
}

/// The messages of websockets. A session is one operation, and each of its messages must come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Session {
    /// The time between two messages. Default 200 ms.
    pub interval: Duration,
    /// The number of messages of one session, at least 1. The end of the load ends a session earlier. Default 50.
    pub messages: u64,
}

/// The paths of HTTP requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paths {
    /// The path of the echo. Default `/echo`.
    pub echo: String,
    /// The path of the blob, to which the number of bytes is appended. Default `/blob/`.
    pub blob: String,
    /// The path of the line that names the worker. Default `/`.
    pub worker: String,
    /// The path of the page, which may have a query. Default `/`.
    pub page: String,
}

/// The fault of a plan.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct PlanError(String);

impl Plan {
    /// Makes a load of 100 one-shot requests a second for 10 s.
    pub fn new(target: impl Into<Target>) -> Self {
        Self {
            targets: vec![target.into()],
            protocol: Protocol::Http(Ask::Echo),
            kinds: Mix::only(ClientKind::OneShot),
            rate: 100.0,
            length: Length::For(Duration::from_secs(10)),
            timeout: Duration::from_secs(10),
            max_open: 2000,
            seed: fastrand::u64(..),
            bytes: 256,
            connections: 16,
            upload: 1 << 20..=8 << 20,
            slow: Slow { bytes: 2 << 20, piece: 32 << 10, pause: Duration::from_millis(10) },
            session: Session { interval: Duration::from_millis(200), messages: 50 },
            paths: Paths::default(),
            keep_failures: 100,
        }
    }

    /// Checks that the plan can be carried out.
    ///
    /// # Errors
    ///
    /// Returns the first fault.
    pub fn check(&self) -> Result<(), PlanError> {
        let sends_token = |bytes| bytes >= Token::LENGTH as u64;
        let has_token = self.protocol == Protocol::Tcp || self.protocol == Protocol::Http(Ask::Echo);
        let rules = [
            (!self.targets.is_empty(), "at least one target is needed"),
            (self.rate > 0.0 && self.rate <= MAX_RATE, "the rate must be above 0 and at most 1000000 a second"),
            (self.length != Length::Count(0), "the count must be at least 1"),
            (self.length != Length::For(Duration::ZERO), "the duration must be above 0"),
            (self.timeout > Duration::ZERO, "the timeout must be above 0"),
            ((1..=1_000_000).contains(&self.max_open), "operations under way must be 1 to 1000000"),
            (
                self.bytes > 0 && (!has_token || sends_token(self.bytes)),
                "contents must hold a token: at least 23 bytes",
            ),
            (self.connections > 0, "at least 1 kept connection is needed"),
            (!self.upload.is_empty() && sends_token(*self.upload.start()), "uploads must be 23 bytes or more"),
            (sends_token(self.slow.bytes) && self.slow.piece > 0, "slow answers must be 23 bytes or more"),
            (self.session.interval > Duration::ZERO, "the interval of messages must be above 0"),
            (self.session.messages > 0, "a session needs at least 1 message"),
        ];
        match rules.iter().find(|(holds, _)| !holds) {
            Some((_, what)) => Err(PlanError((*what).to_owned())),
            None => Ok(()),
        }
    }

    /// Returns the part of the seed that is in the tokens.
    pub(crate) fn run(&self) -> u32 {
        (self.seed ^ (self.seed >> 32)) as u32
    }
}

impl Default for Paths {
    fn default() -> Self {
        let [echo, blob, worker, page] = ["/echo", "/blob/", "/", "/"].map(str::to_owned);
        Self { echo, blob, worker, page }
    }
}

impl From<SocketAddr> for Target {
    fn from(address: SocketAddr) -> Self {
        Self::Tcp(address)
    }
}

impl From<PathBuf> for Target {
    fn from(path: PathBuf) -> Self {
        Self::Unix(path)
    }
}

impl FromStr for Target {
    type Err = String;

    /// Reads `HOST:PORT` or `unix:/path`. A host's name is looked up now.
    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("unix:") {
            return Ok(Self::Unix(path.into()));
        }
        let mut found = text.to_socket_addrs().map_err(|error| error.to_string())?;
        found.next().map(Self::Tcp).ok_or_else(|| format!("`{text}` has no address"))
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn target_is_parsed_as_it_is_written() {
        for text in ["127.0.0.1:80", "[::1]:8080", "unix:/run/a b.sock"] {
            assert_eq!(text.parse::<Target>().unwrap().to_string(), text);
        }
        assert!("127.0.0.1".parse::<Target>().is_err());
    }

    #[test]
    fn impossible_plan_is_refused() {
        let plan = || Plan::new(SocketAddr::from(([127, 0, 0, 1], 80)));
        assert_eq!(plan().check(), Ok(()));
        assert_eq!(Plan { protocol: Protocol::Http(Ask::Blob), bytes: 1, ..plan() }.check(), Ok(()));
        for wrong in [
            Plan { targets: Vec::new(), ..plan() },
            Plan { rate: 0.0, ..plan() },
            Plan { rate: f64::NAN, ..plan() },
            Plan { length: Length::Count(0), ..plan() },
            Plan { bytes: 22, ..plan() },
            Plan { protocol: Protocol::Http(Ask::Blob), bytes: 0, ..plan() },
            Plan { upload: RangeInclusive::new(100, 50), ..plan() },
            Plan { max_open: 0, ..plan() },
        ] {
            assert!(wrong.check().is_err(), "{wrong:?}");
        }
    }
}
