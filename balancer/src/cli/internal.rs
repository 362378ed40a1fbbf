//! The parts of the program that the master starts of itself. They are no commands for people.

use std::ffi::{OsStr, OsString};
use std::process::ExitCode;

/// One of them, known by the first argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// Sets up a worker's process and becomes the worker.
    ExecWorker,
    /// Outlives the master to kill what it left.
    Guardian,
    /// The built-in demo worker.
    DemoWorker,
}

impl Part {
    /// The part of that name.
    pub(super) fn named(name: &OsStr) -> Option<Self> {
        match name.to_str()? {
            "exec-worker" => Some(Self::ExecWorker),
            "guardian" => Some(Self::Guardian),
            "demo-worker" => Some(Self::DemoWorker),
            _ => None,
        }
    }

    /// Runs it with the arguments after its name.
    pub(super) fn run(self, args: impl Iterator<Item = OsString>) -> ExitCode {
        match self {
            Self::ExecWorker => {
                let _ = args;
                ExitCode::FAILURE
            }
            Self::Guardian => ExitCode::FAILURE,
            Self::DemoWorker => ExitCode::FAILURE,
        }
    }
}
