//! The commands and their flags, as clap sees them.

mod commands;

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

/// One public port, N workers of any program kept alive behind it.
///
/// Without a command, runs ./roundelay.toml if there is one, else a demo pool.
#[derive(Debug, Parser)]
#[command(name = "roundelay", version, max_term_width = 80, disable_help_subcommand = true)]
#[command(after_help = "Start:  roundelay run -- node app.js", after_long_help = EXAMPLES)]
pub(super) struct Cli {
    #[command(subcommand)]
    pub(super) command: Option<Command>,

    /// The master's control socket: a path, auto or off
    #[arg(long, global = true, value_name = "PATH", help_heading = "Options of the master")]
    pub(super) control: Option<String>,
}

const EXAMPLES: &str = "\
Examples:
  roundelay                                  a demo pool on 127.0.0.1:8080
  roundelay run -- node app.js               as many copies as fit this machine
  roundelay run -l :80 -i 4 -- ./server      four workers behind port 80
  roundelay config check                     what is wrong with ./roundelay.toml
  roundelay list                             what the running master does
  roundelay reload                           take a changed file or program";

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Run the master in the foreground
    #[command(after_long_help = RUN_HELP)]
    Run(Run),
    /// Run the built-in demo pool, which needs no program of yours
    Demo(Demo),
    /// Show pools and workers of the running master
    #[command(visible_aliases = ["ls", "ps"])]
    List(List),
    /// Say in one screen whether all is well; so does the exit code
    Status(Status),
    /// Read the configuration again and replace the workers one by one
    Reload(Reload),
    /// Change how many workers a pool has
    Scale(Scale),
    /// Show how a pool chooses its workers, or change it at once
    Strategy(Strategy),
    /// Drain workers, end them and start them again
    Restart(Targeted),
    /// Drain workers and end them; they stay stopped
    Stop(Targeted),
    /// Start stopped workers
    Start(Targeted),
    /// Say something to the programs in workers, such as Node's
    #[command(after_long_help = MESSAGE_HELP)]
    Message(Message),
    /// Stop everything and end the master
    Shutdown(Shutdown),
    /// Exit with 0 if the running master is ready
    Healthcheck,
    /// Load every way of distribution side by side, and write a report
    #[cfg(feature = "compare")]
    #[command(after_long_help = COMPARE_HELP)]
    Compare(CompareArgs),
    /// Show a report of compare again, or what changed between two
    #[cfg(feature = "compare")]
    Report(ReportArgs),
    /// Play the faults a server must survive, under load that checks every answer
    #[cfg(feature = "compare")]
    #[command(after_long_help = DRILL_HELP)]
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
    /// Program and arguments; {port} in one is the worker's port
    #[arg(last = true, value_name = "CMD")]
    pub(super) command: Vec<String>,
    #[command(flatten)]
    pub(super) options: Options,
}

const RUN_HELP: &str = "\
Every flag is also a variable: --log-level is ROUNDELAY_LOG_LEVEL, several
--listen are separated by commas, several --set by semicolons in
ROUNDELAY_SET=\"pool.api.workers=4;log.level=debug\". An empty variable is none.
Where ROUNDELAY_POOL is set, this master is itself the worker of another one;
ROUNDELAY_WORKERS is then the other's count and not read.

Stronger wins: defaults < file < variables < flags < --set.

Without -c and without a command, the file is the first of ./roundelay.toml,
$XDG_CONFIG_HOME/roundelay/roundelay.toml and /etc/roundelay/roundelay.toml.
With a command no file is looked for; one named by -c may have no pools.
The pool's flags (-l -i -s -m --endpoint ...) need a command or a file with
one pool; with several, write --set pool.NAME.KEY=VALUE.

Without --listen the public address is PORT of this command's environment, on
127.0.0.1, else 127.0.0.1:8080. With --listen app it is the one that a Node
application of mode handoff or shared asks for. A listener that was passed to
this process (LISTEN_FDS) is used by its address, or as --listen fd:NAME.

Each worker gets PORT, HOST, ROUNDELAY_POOL, ROUNDELAY_WORKER (its number, from
0), ROUNDELAY_WORKERS, ROUNDELAY_GENERATION, NODE_APP_INSTANCE, NOTIFY_SOCKET.

Examples:
  roundelay run -- node app.js
  roundelay run -l :80 -i -1 --health /health -- ./server --port {port}
  roundelay run -c production.toml --set pool.api.workers=8";

const MESSAGE_HELP: &str = "\
It comes to process.on('message') of a Node program, in modes handoff and
shared, and to Worker::messages() of one made with worker-runtime, in mode
handoff. Those that are starting are not told. Exits with 0 if all were told,
1 if only some were, 6 if none was; what they make of it is not known.

Examples:
  roundelay message api '{\"cmd\":\"flush-cache\"}'
  roundelay message api/2 --text reload-config
  roundelay message api - < order.json";

#[cfg(feature = "compare")]
const COMPARE_HELP: &str = "\
Masters and workers of its own are started on free ports of 127.0.0.1, loaded and
ended; nothing else is touched. Saturation is measured by a closed loop, latency by
an open one at the same rates for all, from when each request was to be sent.

EXPR is SCENARIO.WAY.METRIC OP TERM: OP is < <= > >= ==, TERM a number with a unit
(5ms, 900/s) or another metric, also with a factor. Metrics: rps, p50, p90, p99,
p999, errors, cpu, balancer-cpu, workers-cpu, fairness, balancer-memory, gap,
recovery.

Examples:
  roundelay compare --quick
  roundelay compare --quick -- node app.js
  roundelay compare --ways round-robin,haproxy --scenarios churn,kill
  roundelay compare --assert 'kill.round-robin.errors < 5'";

#[cfg(feature = "compare")]
const DRILL_HELP: &str = "\
Masters and workers of its own are started on free ports of 127.0.0.1 and ended;
nothing else is touched. Exits with 0 if every promise was kept.

Examples:
  roundelay drill
  roundelay drill --only kill,reload-storm -- node app.js
  roundelay drill --against pm2,node-cluster -- node app.js";

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

/// The keys of a file that are flags, too.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Options of the pool")]
pub(super) struct Options {
    /// Public address: 127.0.0.1:8080, :80, unix:/path, app; repeatable
    #[arg(short, long, value_name = "ADDR")]
    listen: Vec<String>,
    /// auto, max, a count, or -N to leave N CPUs free
    #[arg(short = 'i', long, value_name = "N", allow_negative_numbers = true)]
    workers: Option<String>,
    #[arg(short, long, value_name = "NAME", help = strategies())]
    strategy: Option<String>,
    #[arg(short, long, value_name = "MODE", help = modes())]
    mode: Option<String>,
    /// A worker's private endpoint: port, or unix (cheaper)
    #[arg(long, value_name = "KIND")]
    endpoint: Option<String>,
    /// Name of the command's pool [default: its program]
    #[arg(short, long)]
    pub(super) name: Option<String>,
    /// Health check: tcp, none or a path such as /health
    #[arg(long, value_name = "PROBE")]
    health: Option<String>,
    /// A worker is ready at: probe, notify (READY=1) or none
    #[arg(long, value_name = "WHEN")]
    ready: Option<String>,
    /// Tell a worker the client's address: off, v1 or v2
    #[arg(long, value_name = "VERSION")]
    proxy_protocol: Option<String>,
    /// Admin port: 127.0.0.1:9900, or off
    #[arg(long, value_name = "ADDR", help_heading = "Options of the master")]
    admin: Option<String>,
    /// Data threads: auto or a count
    #[arg(long, value_name = "N", help_heading = "Options of the master")]
    threads: Option<String>,
    /// error, warn, info, debug or trace
    #[arg(long, value_name = "LEVEL", help_heading = "Options of the master")]
    log_level: Option<String>,
    /// auto, pretty or json
    #[arg(long, value_name = "FORMAT", help_heading = "Options of the master")]
    log_format: Option<String>,
    /// Any key of the file, such as pool.api.workers=4
    #[arg(long, value_name = "KEY=VALUE", help_heading = "Options of the master")]
    pub(super) set: Vec<String>,
}

/// The line of `--mode`, from the table of modes.
fn modes() -> String {
    let names: Vec<&str> = Mode::ALL.iter().map(|mode| mode.name()).collect();
    format!("How a connection reaches a worker: {}", names.join(", "))
}

/// The line of `--strategy`, from the list of strategies.
fn strategies() -> String {
    let names: Vec<&str> = strategy::ALL.iter().map(|entry| entry.name).collect();
    format!("Which worker: {}", names.join(", "))
}

impl Cli {
    /// Reads the command line, or ends the process with help, the version or what is wrong.
    pub(super) fn from_command_line() -> Self {
        Self::try_parse().unwrap_or_else(|error| hinted(error).exit())
    }
}

/// Adds a tip to the two likeliest mistakes, for which clap has none.
fn hinted(mut error: clap::Error) -> clap::Error {
    let has_tip =
        error.get(ContextKind::SuggestedArg).is_some() || error.get(ContextKind::SuggestedSubcommand).is_some();
    if let (ErrorKind::UnknownArgument, false, Some(ContextValue::String(word))) =
        (error.kind(), has_tip, error.get(ContextKind::InvalidArg))
    {
        let is_first = std::env::args().nth(1).is_some_and(|first| first.starts_with(word.as_str()));
        let tip = match word.strip_prefix('-') {
            None => format!("a program stands behind two dashes: roundelay run -- {word}"),
            Some(_) if is_first => format!("flags stand behind a command: roundelay run {word}"),
            Some(_) => return error,
        };
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![StyledStr::from(tip)]));
    }
    error
}

impl Options {
    /// The flags that were given, with their words.
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
    /// For people
    Table,
    /// For programs
    Json,
}

#[derive(Debug, Subcommand)]
pub(super) enum ConfigCommand {
    /// Say everything that is wrong with it; opens no port, starts nothing
    Check(Check),
    /// Print what would run, as TOML
    Show(Show),
}

#[derive(Debug, Args)]
pub(super) struct Check {
    #[command(flatten)]
    pub(super) file: FileArg,
    /// Warnings are errors
    #[arg(long)]
    pub(super) strict: bool,
    #[command(flatten)]
    pub(super) options: Options,
}

#[derive(Debug, Args)]
pub(super) struct Show {
    #[command(flatten)]
    pub(super) file: FileArg,
    /// Behind each value, say where it came from
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
