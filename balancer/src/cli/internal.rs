//! The parts of this program that the master starts itself. They are not commands for people.

use std::ffi::{OsStr, OsString};
use std::process::ExitCode;

use crate::os::{guardian, shim};
use crate::supervisor::DEMO_COMMAND;

/// An internal part; the first argument selects it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// Sets up a worker's process and becomes the worker.
    ExecWorker,
    /// Outlives the master and then kills the workers that it left.
    Guardian,
    /// The built-in demo worker.
    DemoWorker,
}

impl Part {
    /// Returns the part with that name.
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
