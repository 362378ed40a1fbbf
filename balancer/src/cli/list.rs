//! `roundelay list`: pools and workers, one line each.

use std::path::Path;
use std::process::ExitCode;

use crate::failure::{Failure, code};

/// Asks the master at `control` and prints what it says.
pub(super) fn run(control: &Path, json: bool) -> Result<ExitCode, Failure> {
    let _ = (control, json);
    Err(Failure::new(code::FAILED, "`list` is not built yet"))
}
