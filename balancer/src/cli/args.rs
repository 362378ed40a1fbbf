//! The commands and their flags, as clap parses them.

mod commands;
mod help;

use std::path::PathBuf;

use clap::builder::StyledStr;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Args, Parser, Subcommand, ValueEnum};

#[cfg(feature = "compare")]
use roundelay_harness::compare::args::{CompareArgs, ReportArgs};
#[cfg(feature = "compare")]
use roundelay_harness::drill::DrillArgs;

use crate::config::{FLAGS, Flag};
use crate::mode::Mode;
use crate::strategy;

pub(super) use commands::{Message, Reload, Scale, Shutdown, Status, Strategy, Targeted, Watching};

/// Process manager and load balancer: one public port, N workers of any program.
///
/// Without a command, runs ./roundelay.toml if there is one, else a demo pool.
#[derive(Debug, Parser)]
#[command(name = "roundelay", version, max_term_width = 80, disable_help_subcommand = true)]
#[command(after_help = "Start:  roundelay run -- node app.js", after_long_help = help::EXAMPLES)]
pub(super) struct Cli {
    #[command(subcommand)]
    pub(super) command: Option<Command>,

    /// Control socket of the master: a path, auto or off
    #[arg(long, global = true, value_name = "PATH", help_heading = "Options of the master")]
    pub(super) control: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Start a program, or the pools of a file, in the foreground
    #[command(after_long_help = help::RUN_HELP)]
    Run(Run),
    /// Start the built-in demo pool; it needs no program of yours
    Demo(Demo),
    /// List pools and workers of the running master
    #[command(visible_aliases = ["ls", "ps"])]
    List(List),
    /// Show on one screen if all is well; the exit code tells it, too
    Status(Status),
    /// Zero-downtime reload: read the file again, replace the workers
    Reload(Reload),
    /// Change the number of workers of a pool
    Scale(Scale),
    /// Show or change a pool's load balancing strategy
    Strategy(Strategy),
    /// Restart workers gracefully: drain, end, start again
    Restart(Targeted),
    /// Stop workers gracefully: drain and end; they stay stopped
    Stop(Targeted),
    /// Start stopped workers
    Start(Targeted),
    /// Send a message to the programs in workers, such as Node apps
    #[command(after_long_help = help::MESSAGE_HELP)]
    Message(Message),
    /// Stop all workers gracefully and end the master
    Shutdown(Shutdown),
    /// Exit with 0 if the running master is ready
    Healthcheck,
    /// Load test all modes and strategies side by side; write a report
    #[cfg(feature = "compare")]
    #[command(after_long_help = help::COMPARE_HELP)]
    Compare(CompareArgs),
    /// Show a report of compare again, or the changes between two
    #[cfg(feature = "compare")]
    Report(ReportArgs),
    /// Inject faults under load that checks every answer
    #[cfg(feature = "compare")]
    #[command(after_long_help = help::DRILL_HELP)]
    Drill(DrillArgs),
    /// Not in this binary: needs the feature `compare`
    #[cfg(not(feature = "compare"))]
    #[command(hide = true, aliases = ["report", "drill"], disable_help_flag = true)]
    Compare(LeftOut),
    /// Check or show the configuration
    #[command(subcommand)]
    Config(ConfigCommand),
}

/// The arguments of a command that this binary was built without; they are not read.
#[cfg(not(feature = "compare"))]
#[derive(Debug, Args)]
pub(super) struct LeftOut {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
    _args: Vec<std::ffi::OsString>,
}

#[derive(Debug, Args)]
pub(super) struct Run {
    #[command(flatten)]
    pub(super) file: FileArg,
    /// Program and arguments; {port} stands for the worker's port
    #[arg(last = true, value_name = "CMD")]
    pub(super) command: Vec<String>,
    #[command(flatten)]
    pub(super) options: Options,
}

#[derive(Debug, Args)]
pub(super) struct Demo {
    #[command(flatten)]
    pub(super) options: Options,
}

#[derive(Debug, Args)]
pub(super) struct FileArg {
    /// The file to run; - is stdin [default: ./roundelay.toml]
    #[arg(short, long, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
}

/// The keys of the configuration file that are also flags.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Options of the pool")]
pub(super) struct Options {
    /// Public address: 127.0.0.1:8080, :80, unix:/path, app; repeatable
    #[arg(short, long, value_name = "ADDR")]
    listen: Vec<String>,
    /// Workers: auto, max, a count, or -N to leave N CPUs free
    #[arg(short = 'i', long, value_name = "N", allow_negative_numbers = true)]
    workers: Option<String>,
    #[arg(short, long, value_name = "NAME", help = strategies())]
    strategy: Option<String>,
    #[arg(short, long, value_name = "MODE", help = modes())]
    mode: Option<String>,
    /// A worker's private endpoint: port, or unix (less CPU)
    #[arg(long, value_name = "KIND")]
    endpoint: Option<String>,
    /// Name of the pool [default: the program's]
    #[arg(short, long)]
    pub(super) name: Option<String>,
    /// Health check: tcp, none or a path such as /health
    #[arg(long, value_name = "PROBE")]
    health: Option<String>,
    /// Sign that a worker is ready: probe, notify (READY=1), none
    #[arg(long, value_name = "WHEN")]
    ready: Option<String>,
    /// PROXY protocol for the client's address: off, v1 or v2
    #[arg(long, value_name = "VERSION")]
    proxy_protocol: Option<String>,
    /// Admin port: 127.0.0.1:9900, or off
    #[arg(long, value_name = "ADDR", help_heading = "Options of the master")]
    admin: Option<String>,
    /// Threads that carry connections: auto or a count
    #[arg(long, value_name = "N", help_heading = "Options of the master")]
    threads: Option<String>,
    /// Log level: error, warn, info, debug or trace
    #[arg(long, value_name = "LEVEL", help_heading = "Options of the master")]
    log_level: Option<String>,
    /// Log format: auto, pretty or json
    #[arg(long, value_name = "FORMAT", help_heading = "Options of the master")]
    log_format: Option<String>,
    /// Set any key of the file, such as pool.api.workers=4
    #[arg(long, value_name = "KEY=VALUE", help_heading = "Options of the master")]
    pub(super) set: Vec<String>,
}

/// Returns the help of `--mode`, from the table of modes.
fn modes() -> String {
    let names: Vec<&str> = Mode::ALL.iter().map(|mode| mode.name()).collect();
    format!("How a connection reaches a worker: {}", names.join(", "))
}

/// Returns the help of `--strategy`, from the list of strategies.
fn strategies() -> String {
    let names: Vec<&str> = strategy::ALL.iter().map(|entry| entry.name).collect();
    format!("Load balancing strategy: {}", names.join(", "))
}

impl Cli {
    /// Reads the command line. Ends the process after printing help, the version or an error.
    pub(super) fn from_command_line() -> Self {
        Self::try_parse().unwrap_or_else(|error| hinted(error).exit())
    }
}

/// Adds a tip to the two likeliest mistakes, for which clap has no tip of its own.
fn hinted(mut error: clap::Error) -> clap::Error {
    let has_tip =
        error.get(ContextKind::SuggestedArg).is_some() || error.get(ContextKind::SuggestedSubcommand).is_some();
    if let (ErrorKind::UnknownArgument, false, Some(ContextValue::String(word))) =
        (error.kind(), has_tip, error.get(ContextKind::InvalidArg))
    {
        let is_first = std::env::args().nth(1).is_some_and(|first| first.starts_with(word.as_str()));
        let tip = match word.strip_prefix('-') {
            None => format!("write a program after two dashes: roundelay run -- {word}"),
            Some(_) if is_first => format!("write flags after a command: roundelay run {word}"),
            Some(_) => return error,
        };
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![StyledStr::from(tip)]));
    }
    error
}

impl Options {
    /// Returns the flags that were given, with their values.
    pub(super) fn flags(&self, control: Option<&str>) -> Vec<(Flag, Vec<String>)> {
        let one = |value: &Option<String>| value.iter().cloned().collect::<Vec<_>>();
        let words = |flag: &Flag| match flag.name {
            "listen" => self.listen.clone(),
            "workers" => one(&self.workers),
            "strategy" => one(&self.strategy),
            "mode" => one(&self.mode),
            "endpoint" => one(&self.endpoint),
            "health" => one(&self.health),
            "ready" => one(&self.ready),
            "proxy-protocol" => one(&self.proxy_protocol),
            "admin" => one(&self.admin),
            "threads" => one(&self.threads),
            "log-level" => one(&self.log_level),
            "log-format" => one(&self.log_format),
            "control" => control.map(str::to_owned).into_iter().collect(),
            _ => Vec::new(),
        };
        FLAGS.into_iter().map(|flag| (flag, words(&flag))).collect()
    }
}

#[derive(Debug, Args)]
pub(super) struct List {
    /// The same as -o json
    #[arg(long)]
    json: bool,
    /// Format of the output
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    output: Output,
}

impl List {
    pub(super) fn is_json(&self) -> bool {
        self.json || self.output == Output::Json
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Output {
    /// A table for people
    Table,
    /// JSON for programs
    Json,
}

#[derive(Debug, Subcommand)]
pub(super) enum ConfigCommand {
    /// Show all mistakes; opens no port and starts nothing
    Check(Check),
    /// Print the effective configuration as TOML
    Show(Show),
}

#[derive(Debug, Args)]
pub(super) struct Check {
    #[command(flatten)]
    pub(super) file: FileArg,
    /// Treat warnings as errors
    #[arg(long)]
    pub(super) strict: bool,
    #[command(flatten)]
    pub(super) options: Options,
}

#[derive(Debug, Args)]
pub(super) struct Show {
    #[command(flatten)]
    pub(super) file: FileArg,
    /// Show behind each value where it comes from
    #[arg(long)]
    pub(super) origin: bool,
    /// The program and its arguments, as for run
    #[arg(last = true, value_name = "CMD")]
    pub(super) command: Vec<String>,
    #[command(flatten)]
    pub(super) options: Options,
}

#[cfg(test)]
mod tests;
