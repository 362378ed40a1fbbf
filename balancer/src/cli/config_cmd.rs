//! `roundelay config`: shows the mistakes of a configuration, or the effective one. Opens no port and starts nothing.

use std::io::Write;
use std::process::ExitCode;

use super::args::{Check, Show};
use super::run::Asked;
use super::{CliError, missing, print_problems};
use crate::app::Origin;
use crate::config::{self, Origins};
use crate::failure::code;

/// `config check`.
pub(super) fn check(check: &Check, control: Option<&str>) -> Result<ExitCode, CliError> {
    let asked = Asked::find(&check.file, &check.options, &[], control)?;
    let mut loaded = asked.load()?;
    missing::look(&loaded.config, &loaded.origins, &mut loaded.warnings);
    print_problems(&loaded.warnings);
    if loaded.warnings.errors() > 0 {
        return Ok(ExitCode::from(code::CONFIG));
    }
    if check.strict && !loaded.warnings.is_empty() {
        return Ok(ExitCode::from(code::CONFIG));
    }
    let name = match (&asked.origin, &asked.sources.file) {
        (Origin::File(_), Some(file)) => file.name.as_str(),
        _ => "command line",
    };
    let pools = loaded.config.pools.len();
    let plural = if pools == 1 { "" } else { "s" };
    print(&format!("{name}: ok, {pools} pool{plural}\n"));
    Ok(ExitCode::SUCCESS)
}

/// `config show`.
pub(super) fn show(show: &Show, control: Option<&str>) -> Result<ExitCode, CliError> {
    let mut asked = Asked::find(&show.file, &show.options, &show.command, control)?;
    // Users are not looked up: nothing is started, the file may be for another machine, and only root can switch users.
    asked.sources.accounts = None;
    let loaded = asked.load()?;
    print_problems(&loaded.warnings);
    let origins = Origins { positions: &loaded.origins, source: asked.sources.file.as_ref() };
    print(&config::show(&loaded.config, show.origin.then_some(origins)));
    Ok(ExitCode::SUCCESS)
}

/// Prints a text. A reader that has closed the pipe, as `head` does, is not an error.
fn print(text: &str) {
    let _ = std::io::stdout().write_all(text.as_bytes());
}
