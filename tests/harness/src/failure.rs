//! The reason why a command gave up: what was tried with which value, the cause, a hint, and the exit code.

use std::fmt;

/// The failure of a command. The binary prints it like its own ones: `error:`, `cause:`, `hint:`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{error}{}", .cause.as_deref().map(|cause| format!(": {cause}")).unwrap_or_default())]
pub struct Failure {
    /// The exit code, one of [`code`].
    pub code: u8,
    /// The action that was tried, with the value.
    pub error: String,
    /// The cause.
    pub cause: Option<String>,
    /// The advice: the next step.
    pub hint: Option<String>,
}

/// The exit codes of the harness's commands.
pub mod code {
    /// All is well.
    pub const OK: u8 = 0;
    /// The operation failed; for a drill: a promise was broken.
    pub const FAILED: u8 = 1;
    /// Wrong usage, or a wrong scenario file.
    pub const USAGE: u8 = 2;
    /// The comparison is finished, and an `--assert` does not hold.
    pub const ASSERTION: u8 = 8;
    /// Interrupted (128 + SIGINT, as shells have it).
    pub const INTERRUPTED: u8 = 130;
}

impl Failure {
    /// Returns a failure with that exit code.
    pub fn new(code: u8, error: impl Into<String>) -> Self {
        Self { code, error: error.into(), cause: None, hint: None }
    }

    /// Adds the cause.
    #[must_use]
    pub fn cause(mut self, cause: impl fmt::Display) -> Self {
        self.cause = Some(cause.to_string());
        self
    }

    /// Adds the hint.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}
