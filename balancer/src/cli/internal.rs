//! The parts of the program that the master starts of itself. They are no commands for people.

use std::ffi::{OsStr, OsString};
use std::process::ExitCode;

use crate::os::{guardian, shim};
use crate::supervisor::DEMO_COMMAND;

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
            shim::COMMAND => Some(Self::ExecWorker),
            guardian::COMMAND => Some(Self::Guardian),
            DEMO_COMMAND => Some(Self::DemoWorker),
            _ => None,
        }
    }

    /// Runs it with the arguments after its name.
    pub(super) fn run(self, args: impl Iterator<Item = OsString>) -> ExitCode {
        match self {
            Self::ExecWorker => shim::main(args),
            Self::Guardian => guardian::main(),
            Self::DemoWorker => worker_runtime::demo::main(),
        }
    }
}
