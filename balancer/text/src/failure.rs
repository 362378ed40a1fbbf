//! What a command says when it gives up: what was tried with which value, the cause, what to do, and the exit code.

use std::fmt;

/// Exit codes. Beside these there is 143: terminated.
pub mod code {
    /// All is well.
    pub const OK: u8 = 0;
    /// The operation failed; of a drill: a promise was broken.
    pub const FAILED: u8 = 1;
    /// Wrong usage, as clap and shells have it; also a scenario file that is wrong.
    pub const USAGE: u8 = 2;
    /// No master is running or it cannot be reached (LSB's "program is not running").
    pub const NO_MASTER: u8 = 3;
    /// No such pool or worker.
    pub const NO_TARGET: u8 = 4;
    /// It was not over in the time that was given. It goes on.
    pub const TIMED_OUT: u8 = 5;
    /// Refused: busy, or not possible; nothing was changed.
    pub const REFUSED: u8 = 6;
    /// It runs, but not as it should.
    pub const DEGRADED: u8 = 7;
    /// The comparison is finished, and an `--assert` does not hold.
    pub const ASSERTION: u8 = 8;
    /// The configuration is invalid (sysexits' `EX_CONFIG`; systemd prints it by name).
    pub const CONFIG: u8 = 78;
    /// Interrupted (128 + SIGINT, as shells have it).
    pub const INTERRUPTED: u8 = 130;
}

/// A command's end in failure, printed as
///
/// ```text
/// error: cannot listen on 0.0.0.0:80
/// cause: permission denied (os error 13)
/// hint:  choose a port above 1023, or give the binary CAP_NET_BIND_SERVICE
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The exit code, one of [`code`].
    pub code: u8,
    /// The thing that was tried, with the value.
    pub error: String,
    /// Why it failed.
    pub cause: Option<String>,
    /// The next thing to do.
    pub hint: Option<String>,
}

impl Failure {
    /// A failure of that exit code.
    pub fn new(code: u8, error: impl Into<String>) -> Self {
        Self { code, error: error.into(), cause: None, hint: None }
    }

    /// With its cause.
    #[must_use]
    pub fn cause(mut self, cause: impl fmt::Display) -> Self {
        self.cause = Some(cause.to_string());
        self
    }

    /// With what to do.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Returns the error with its cause in one line, to stand within another text.
    pub fn in_one_line(&self) -> String {
        self.cause.as_ref().map_or_else(|| self.error.clone(), |cause| format!("{}: {cause}", self.error))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}", self.error)?;
        if let Some(cause) = &self.cause {
            write!(f, "\ncause: {cause}")?;
        }
        if let Some(hint) = &self.hint {
            write!(f, "\nhint:  {hint}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Failure {}
