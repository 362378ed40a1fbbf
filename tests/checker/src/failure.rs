//! The classes of failures of an operation, and the class of one failure. Pure.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use rustix::io::Errno;
use serde::{Serialize, Serializer};

use crate::client_kinds::ClientKind;

/// The class of a failure, as the client saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// The connect was refused.
    Refused,
    /// The connect was not answered in time.
    ConnectTimeout,
    /// Connected, but the answer was not complete in time.
    Timeout,
    /// A reset on a new connection before a byte of the answer.
    ResetBeforeFirstByte,
    /// A clean end of a new connection before a byte of the answer.
    ClosedBeforeFirstByte,
    /// A request was written on a kept connection, which then ended or was reset without a byte of an answer. HTTP lets
    /// clients repeat such a request if it is idempotent (RFC 9110 9.2.2, RFC 9112 9.3.1), but no cooperative client
    /// should have to.
    StaleKeepalive,
    /// A reset within the answer.
    ResetMidway,
    /// A clean end within the answer. This is the worst class, since without a declared length the answer looks
    /// complete.
    Truncated,
    /// Other content than expected, surplus bytes, or bytes that are no answer.
    WrongBytes,
    /// A complete head with another status than 200.
    BadStatus,
    /// Any other error of the operating system.
    Other,
}

impl Class {
    /// All classes, in the order of reports.
    pub const ALL: [Self; 11] = [
        Self::Refused,
        Self::ConnectTimeout,
        Self::Timeout,
        Self::ResetBeforeFirstByte,
        Self::ClosedBeforeFirstByte,
        Self::StaleKeepalive,
        Self::ResetMidway,
        Self::Truncated,
        Self::WrongBytes,
        Self::BadStatus,
        Self::Other,
    ];

    /// Returns the name that reports and options use.
    pub fn name(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::ConnectTimeout => "connect_timeout",
            Self::Timeout => "timeout",
            Self::ResetBeforeFirstByte => "reset_before_first_byte",
            Self::ClosedBeforeFirstByte => "closed_before_first_byte",
            Self::StaleKeepalive => "stale_keepalive",
            Self::ResetMidway => "reset_midway",
            Self::Truncated => "truncated",
            Self::WrongBytes => "wrong_bytes",
            Self::BadStatus => "bad_status",
            Self::Other => "other",
        }
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Class {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let known = || Self::ALL.map(Self::name).join(", ");
        let found = Self::ALL.into_iter().find(|class| class.name() == name);
        found.ok_or_else(|| format!("`{name}` is not a class of failure; the classes are {}", known()))
    }
}

impl Serialize for Class {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

/// One failed operation.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Failure {
    /// The class of the failure.
    pub class: Class,
    /// The kind of client.
    pub kind: ClientKind,
    /// The operation's token, as it stands in the request.
    pub token: String,
    /// The time at which the operation was to start, from the start of the load.
    #[serde(serialize_with = "seconds", rename = "at_seconds")]
    pub at: Duration,
    /// The time at which the operation had failed, from the start of the load.
    #[serde(serialize_with = "seconds", rename = "ended_seconds")]
    pub ended: Duration,
    /// The target that should have answered.
    pub target: String,
    /// A short description of the failure.
    pub what: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { class, kind, token, at, ended, target, what } = self;
        let (at, ended) = (at.as_secs_f64(), ended.as_secs_f64());
        write!(f, "{at:.3} s to {ended:.3} s: {class}: {what} ({kind}, {token}, {target})")
    }
}

fn seconds<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(duration.as_secs_f64())
}

/// The end of an operation that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// The operation's time was up.
    Deadline,
    /// The peer ended the connection in an orderly way.
    Closed,
    /// The operating system returned an error.
    Error(Errno),
    /// The answer is not the expected one.
    Wrong(String),
    /// The answer has a status that was not expected.
    Status(u16),
}

impl End {
    /// Makes an end of an error of a socket call.
    pub fn from_io(error: &std::io::Error) -> Self {
        Self::Error(Errno::from_io_error(error).unwrap_or(Errno::IO))
    }

    /// Returns this end, or a reset if a write of the same request has returned one. The kernel reports an error only
    /// once, so after such a write the reader only sees that no more bytes come. EPIPE does not count as a reset here,
    /// since it means that the orderly end came first.
    pub fn unless_reset(self, of_write: Option<Errno>) -> Self {
        if of_write == Some(Errno::CONNRESET) { Self::Error(Errno::CONNRESET) } else { self }
    }
}

/// The progress of an operation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stage {
    /// The connect has succeeded.
    pub is_connected: bool,
    /// The connection has carried an answer before.
    pub is_kept: bool,
    /// The bytes of the request that the kernel has taken.
    pub sent: u64,
    /// The bytes that came back.
    pub received: u64,
}

/// Returns true if the machine that makes the load has run out of a resource, so that nothing is known about the
/// target.
pub fn is_own_limit(stage: Stage, end: &End) -> bool {
    // No more ports towards the target, descriptors, or memory for sockets.
    const LIMITS: [Errno; 5] = [Errno::ADDRNOTAVAIL, Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM];
    !stage.is_connected && matches!(end, End::Error(errno) if LIMITS.contains(errno))
}

/// Returns the class of a failed operation.
pub fn classify(stage: Stage, end: &End) -> Class {
    match end {
        End::Wrong(_) => Class::WrongBytes,
        End::Status(_) => Class::BadStatus,
        End::Deadline if stage.is_connected => Class::Timeout,
        End::Deadline => Class::ConnectTimeout,
        End::Closed if stage.received > 0 => Class::Truncated,
        End::Closed if stage.is_kept => Class::StaleKeepalive,
        End::Closed => Class::ClosedBeforeFirstByte,
        // EPIPE is the reset of a peer that had closed before.
        End::Error(Errno::CONNRESET | Errno::PIPE) if stage.received > 0 => Class::ResetMidway,
        End::Error(Errno::CONNRESET | Errno::PIPE) if stage.is_kept => Class::StaleKeepalive,
        End::Error(Errno::CONNRESET | Errno::PIPE) => Class::ResetBeforeFirstByte,
        // A connect to a unix socket returns EAGAIN if the backlog is full.
        End::Error(Errno::CONNREFUSED | Errno::AGAIN) if !stage.is_connected => Class::Refused,
        End::Error(Errno::TIMEDOUT) if !stage.is_connected => Class::ConnectTimeout,
        End::Error(_) => Class::Other,
    }
}

/// Returns a short description of a failure.
pub(crate) fn describe(stage: Stage, end: &End) -> String {
    let Stage { is_connected, is_kept, sent, received } = stage;
    let connection = match (is_connected, is_kept) {
        (false, _) => "connecting".to_owned(),
        (true, false) => format!("new connection, {sent} bytes sent, {received} received"),
        (true, true) => format!("kept connection, {sent} bytes sent, {received} received"),
    };
    match end {
        End::Deadline => format!("no complete answer in time: {connection}"),
        End::Closed => format!("closed by the peer: {connection}"),
        End::Error(errno) => format!("{errno}: {connection}"),
        End::Wrong(what) => format!("{what}: {connection}"),
        End::Status(status) => format!("status {status}: {connection}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONNECTING: Stage = Stage { is_connected: false, is_kept: false, sent: 0, received: 0 };
    const NEW: Stage = Stage { is_connected: true, sent: 10, ..CONNECTING };
    const KEPT: Stage = Stage { is_kept: true, ..NEW };

    fn midway(stage: Stage) -> Stage {
        Stage { received: 1, ..stage }
    }

    #[test]
    fn each_end_at_each_stage_has_its_class() {
        let reset = End::Error(Errno::CONNRESET);
        let table = [
            (CONNECTING, End::Error(Errno::CONNREFUSED), Class::Refused),
            (CONNECTING, End::Error(Errno::AGAIN), Class::Refused),
            (CONNECTING, End::Deadline, Class::ConnectTimeout),
            (CONNECTING, End::Error(Errno::TIMEDOUT), Class::ConnectTimeout),
            (CONNECTING, reset.clone(), Class::ResetBeforeFirstByte),
            (CONNECTING, End::Error(Errno::NOENT), Class::Other),
            (NEW, End::Deadline, Class::Timeout),
            (midway(KEPT), End::Deadline, Class::Timeout),
            (NEW, reset.clone(), Class::ResetBeforeFirstByte),
            (NEW, End::Error(Errno::PIPE), Class::ResetBeforeFirstByte),
            (NEW, End::Closed, Class::ClosedBeforeFirstByte),
            (NEW, End::Error(Errno::TIMEDOUT), Class::Other),
            (KEPT, reset.clone(), Class::StaleKeepalive),
            (KEPT, End::Closed, Class::StaleKeepalive),
            (midway(NEW), reset.clone(), Class::ResetMidway),
            (midway(KEPT), reset, Class::ResetMidway),
            (midway(NEW), End::Closed, Class::Truncated),
            (midway(KEPT), End::Closed, Class::Truncated),
            (NEW, End::Wrong(String::new()), Class::WrongBytes),
            (KEPT, End::Status(503), Class::BadStatus),
        ];
        for (stage, end, class) in table {
            assert_eq!(classify(stage, &end), class, "{stage:?} {end:?}");
        }
    }

    #[test]
    fn generator_limit_is_met_only_by_a_connect() {
        assert!(is_own_limit(CONNECTING, &End::Error(Errno::ADDRNOTAVAIL)));
        assert!(!is_own_limit(NEW, &End::Error(Errno::NOBUFS)));
        assert!(!is_own_limit(CONNECTING, &End::Error(Errno::CONNREFUSED)));
    }

    #[test]
    fn class_names_are_parsed_as_they_are_written() {
        for class in Class::ALL {
            assert_eq!(class.name().parse(), Ok(class));
        }
        assert!("lost".parse::<Class>().unwrap_err().contains("stale_keepalive"));
    }
}
