//! `roundelay config`: what is wrong, and what would run. Opens no port and starts nothing.

use std::ffi::{OsStr, OsString};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::ExitCode;

use super::args::{Check, Show};
use super::run::Asked;
use super::{End, print_problems};
use crate::app::Origin;
use crate::config::{self, Config, Origins, Problems, Program};
use crate::failure::code;

/// `config check`.
pub(super) fn check(check: &Check, control: Option<&str>) -> Result<ExitCode, End> {
    let asked = Asked::find(&check.file, &check.options, &[], control)?;
    let mut loaded = asked.load()?;
    missing_programs(&loaded.config, &mut loaded.warnings);
    print_problems(&loaded.warnings);
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
pub(super) fn show(show: &Show, control: Option<&str>) -> Result<ExitCode, End> {
    let mut asked = Asked::find(&show.file, &show.options, &show.command, control)?;
    // Nothing is started, so the users may be another machine's, and only root's to become.
    asked.sources.accounts = None;
    let loaded = asked.load()?;
    print_problems(&loaded.warnings);
    let origins = Origins { places: &loaded.origins, source: asked.sources.file.as_ref() };
    print(&config::show(&loaded.config, show.origin.then_some(origins)));
    Ok(ExitCode::SUCCESS)
}

/// A reader that went away, as `head` does, is no failure.
fn print(text: &str) {
    let _ = std::io::stdout().write_all(text.as_bytes());
}

/// What a worker could not be started with here; it may well be there where the file is meant for.
fn missing_programs(config: &Config, warnings: &mut Problems) {
    for pool in &config.pools {
        let Program::Command(words) = &pool.program else { continue };
        let Some(program) = words.first() else { continue };
        let own = pool.env.get("PATH").map(OsString::from);
        let path = own.or_else(|| std::env::var_os("PATH")).unwrap_or_default();
        if !is_on_path(program, pool.cwd.as_deref(), &path) {
            let what = if program.contains('/') { "no program that can be run" } else { "not on PATH" };
            warnings.warn(format!("command `{program}` is {what} (pool {})", pool.name));
        }
        if let Some(cwd) = pool.cwd.as_ref().filter(|cwd| !cwd.is_dir()) {
            warnings.warn(format!("cwd `{}` is no directory (pool {})", cwd.display(), pool.name));
        }
    }
}

/// Whether a file of that name could be run: a path as it stands, a bare name anywhere on `path`.
fn is_on_path(program: &str, cwd: Option<&Path>, path: &OsStr) -> bool {
    let is_executable = |file: &Path| {
        std::fs::metadata(file).is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
    };
    if program.contains('/') {
        return is_executable(&cwd.unwrap_or(Path::new("")).join(program));
    }
    std::env::split_paths(path).any(|dir| is_executable(&dir.join(program)))
}
