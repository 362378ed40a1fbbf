//! Why a command gave up: what was tried with which value, the cause, what to do, and the exit code.

use std::fmt;

/// A command's end in failure. The binary prints it as its own ones: `error:`, `cause:`, `hint:`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{error}{}", .cause.as_deref().map(|cause| format!(": {cause}")).unwrap_or_default())]
pub struct Failure {
    /// The exit code, one of [`code`].
    pub code: u8,
    /// The action that was tried, with the value.
    pub error: String,
    /// Why it failed.
    pub cause: Option<String>,
    /// The advice: the next step.
    pub hint: Option<String>,
}

/// Exit codes of the harness's commands.
pub mod code {
    /// All is well.
    pub const OK: u8 = 0;
    /// The operation failed; of a drill: a promise was broken.
    pub const FAILED: u8 = 1;
    /// Wrong usage, also a scenario file that is wrong.
    pub const USAGE: u8 = 2;
    /// The comparison is finished, and an `--assert` does not hold.
    pub const ASSERTION: u8 = 8;
    /// Interrupted (128 + SIGINT, as shells have it).
    pub const INTERRUPTED: u8 = 130;
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
}
