//! Starts a master: `run`, `demo`, or no command at all.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::args::{Demo, FileArg, Options, Run};
use super::{CliError, log, print_problems};
use crate::app::{self, ConfigSource, Origin, Setup};
use crate::config::{self, Loaded, Program, Source, Sources};
use crate::failure::{Failure, code};
use crate::os::activation;
use crate::output::Output;

/// `roundelay` without a command: runs the file in this directory if there is one, else the demo pool.
pub(super) fn bare(control: Option<&str>) -> Result<ExitCode, CliError> {
    let named = config::variable(&environment(), "ROUNDELAY_CONFIG").is_some();
    let options = Options::default();
    if named || Path::new("roundelay.toml").exists() {
        return start(Asked::find(&FileArg { config: None }, &options, &[], control)?);
    }
    start(Asked::demo(&options, control))
}

/// `roundelay demo`.
pub(super) fn demo(demo: &Demo, control: Option<&str>) -> Result<ExitCode, CliError> {
    start(Asked::demo(&demo.options, control))
}

/// `roundelay run`.
pub(super) fn run(run: &Run, control: Option<&str>) -> Result<ExitCode, CliError> {
    start(Asked::find(&run.file, &run.options, &run.command, control)?)
}

fn start(asked: Asked) -> Result<ExitCode, CliError> {
    // Before a second thread exists and any descriptor is opened: the passed sockets are known by their numbers.
    let activated = activation::take().map_err(|cause| {
        let hint = "unset LISTEN_FDS, or let the program that passes the sockets start this one";
        Failure::new(code::FAILED, "cannot use the sockets that were passed").cause(cause).hint(hint)
    })?;
    let loaded = asked.load()?;
    print_problems(&loaded.warnings);
    // Before the first thread.
    crate::os::signals::unblock();
    let output = Output::start().map_err(|cause| {
        Failure::new(code::FAILED, "cannot start the threads that read and write output").cause(cause)
    })?;
    let log_level = log::start(&loaded.config.log, output.log());
    let plan = Setup {
        config: loaded.config,
        origin: asked.origin,
        config_source: ConfigSource::new(asked.sources, asked.file, crate::os::start_dir::find()),
        log_level,
        activated,
    };
    let ended = app::run(plan, &output);
    output.flush();
    Ok(ended?)
}

/// Returns the name of the command's pool, from the flag or the variable.
fn name(options: &Options, env: &[(String, String)]) -> Option<String> {
    options.name.clone().or_else(|| config::variable(env, "ROUNDELAY_NAME").map(str::to_owned))
}

/// Everything that was given about what to run, before it is parsed.
pub(super) struct Asked {
    pub(super) sources: Sources,
    pub(super) origin: Origin,
    /// The path of the file.
    file: Option<PathBuf>,
}

impl Asked {
    /// Returns the demo pool with these options.
    fn demo(options: &Options, control: Option<&str>) -> Self {
        let sources = sources(options, control);
        let name = name(options, &sources.env).unwrap_or_else(|| "demo".to_owned());
        Self { sources: Sources { command: Some((name, Program::Demo)), ..sources }, origin: Origin::Demo, file: None }
    }

    /// Returns the command, the file that was named, or the first file that is found.
    ///
    /// # Errors
    ///
    /// The file cannot be read, or there is neither a file nor a command.
    pub(super) fn find(
        file: &FileArg,
        options: &Options,
        command: &[String],
        control: Option<&str>,
    ) -> Result<Self, CliError> {
        let mut sources = sources(options, control);
        let named =
            file.config.clone().or_else(|| config::variable(&sources.env, "ROUNDELAY_CONFIG").map(PathBuf::from));
        if let Some(program) = command.first() {
            sources.file = named.as_deref().map(Source::read).transpose()?;
            let name = name(options, &sources.env).unwrap_or_else(|| pool_name(program));
            sources.command = Some((name, Program::Command(command.to_vec())));
            return Ok(Self { sources, origin: Origin::CommandLine, file: named });
        }
        let path = named.or_else(found).ok_or_else(nothing_to_run)?;
        if options.name.is_some() {
            let failure = Failure::new(code::USAGE, "--name is the name of a command's pool, but no command is given");
            return Err(failure.hint("a file names its pools itself: [pool.NAME]").into());
        }
        let file = Source::read(&path)?;
        let origin = Origin::File(PathBuf::from(&file.name));
        sources.file = Some(file);
        Ok(Self { sources, origin, file: Some(path) })
    }

    /// Puts everything together and checks it.
    ///
    /// # Errors
    ///
    /// Every problem at once.
    pub(super) fn load(&self) -> Result<Loaded, CliError> {
        Ok(config::load(&self.sources)?)
    }
}

fn sources(options: &Options, control: Option<&str>) -> Sources {
    Sources {
        file: None,
        command: None,
        env: environment(),
        flags: options.flags(control),
        sets: options.set.clone(),
        cpus: std::thread::available_parallelism().map_or(1, usize::from),
        accounts: Some(crate::os::account::identify),
    }
}

/// Returns the environment variables that may be ours, and `PORT`.
pub(super) fn environment() -> Vec<(String, String)> {
    let ours = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
        let name = name.into_string().ok().filter(|name| name.starts_with("ROUNDELAY_") || name == "PORT")?;
        Some((name, value.to_string_lossy().into_owned()))
    };
    let mut env: Vec<_> = std::env::vars_os().filter_map(ours).collect();
    env.sort();
    env
}

fn found() -> Option<PathBuf> {
    let [xdg, home] = ["XDG_CONFIG_HOME", "HOME"].map(std::env::var_os);
    config::candidates(xdg.as_deref(), home.as_deref()).into_iter().find(|path| path.exists())
}

fn nothing_to_run() -> Failure {
    Failure::new(code::USAGE, "there is nothing to run: no command and no roundelay.toml")
        .hint("write `roundelay run -- node app.js`, or `roundelay demo` to look around")
}

/// Returns the program's file stem, with characters replaced that a name cannot contain.
fn pool_name(program: &str) -> String {
    let stem = Path::new(program).file_stem().map_or_else(String::new, |stem| stem.to_string_lossy().into_owned());
    let clean = |c: char| if c.is_ascii_alphanumeric() || c == '_' { c } else { '-' };
    let name: String = stem.chars().map(clean).take(32).collect();
    let name = name.trim_matches('-');
    if name.is_empty() { "app".to_owned() } else { name.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pool_is_named_after_its_program() {
        let names = ["./my-server", "/usr/bin/node", "a b.py", "Größe", "...", "/", &"x".repeat(40)].map(pool_name);
        assert_eq!(names, ["my-server", "node", "a-b", "Gr--e", "app", "app", &"x".repeat(32)]);
    }
}
