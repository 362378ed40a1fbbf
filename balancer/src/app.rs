//! Wiring, the order of start and stop.

use std::path::PathBuf;
use std::process::ExitCode;

use crate::config::Config;
use crate::failure::Failure;

/// What the master is to run, and where that was said.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Checked: no rule is broken.
    pub config: Config,
    /// For the banner.
    pub origin: Origin,
}

/// Where a configuration came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Nothing was said: the built-in demo pool.
    Demo,
    /// `run -- CMD`.
    CommandLine,
    /// This file.
    File(PathBuf),
}

/// Runs the master until it is told to stop.
///
/// # Errors
///
/// What could not be opened or started, with the exit code; nothing is left behind.
pub fn run(plan: Plan) -> Result<ExitCode, Failure> {
    let _ = plan;
    Ok(ExitCode::SUCCESS)
}
