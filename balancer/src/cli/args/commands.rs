//! The flags of commands that change a running master.

use std::time::Duration;

use clap::Args;

/// The longest timeout: no user waits longer, and much larger values overflow a clock.
const LONGEST: Duration = Duration::from_secs(366 * 24 * 3600);

fn patience(text: &str) -> Result<Duration, String> {
    let time = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    if time <= LONGEST { Ok(time) } else { Err("at most 366 days".to_owned()) }
}

/// The flags for watching a command.
#[derive(Debug, Default, Args)]
pub(in crate::cli) struct Watching {
    /// Time to wait, such as 30s; afterwards the command goes on
    #[arg(long, value_name = "TIME", value_parser = patience)]
    pub(in crate::cli) timeout: Option<Duration>,
    /// Print the report of each pool as JSON
    #[arg(long)]
    pub(in crate::cli) json: bool,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Reload {
    /// Only this pool
    pub(in crate::cli) pool: Option<String>,
    #[command(flatten)]
    pub(in crate::cli) watching: Watching,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Targeted {
    /// A pool, a worker or a range: api, api/0, api/2-4
    pub(in crate::cli) target: Option<String>,
    /// All workers of all pools
    #[arg(long, conflicts_with = "target")]
    pub(in crate::cli) all: bool,
    #[command(flatten)]
    pub(in crate::cli) watching: Watching,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Scale {
    /// The pool
    pub(in crate::cli) pool: String,
    /// A count, +N or -N, max (the CPUs) or auto
    #[arg(value_name = "N", allow_negative_numbers = true)]
    pub(in crate::cli) workers: String,
    #[command(flatten)]
    pub(in crate::cli) watching: Watching,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Strategy {
    /// The pool
    pub(in crate::cli) pool: String,
    /// The new strategy [default: show all]
    pub(in crate::cli) name: Option<String>,
    #[command(flatten)]
    pub(in crate::cli) watching: Watching,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Message {
    /// A pool, a worker or a range: api, api/0, api/2-4
    pub(in crate::cli) target: String,
    /// A JSON value, such as '{"cmd":"flush-cache"}'; - is stdin
    #[arg(value_name = "JSON", allow_negative_numbers = true)]
    pub(in crate::cli) message: String,
    /// Send the argument as a JSON string, whatever it contains
    #[arg(long)]
    pub(in crate::cli) text: bool,
    /// Print as JSON which workers got it
    #[arg(long)]
    pub(in crate::cli) json: bool,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Status {
    /// Only this pool
    pub(in crate::cli) pool: Option<String>,
    /// The whole state as JSON, as `list --json` prints it
    #[arg(long)]
    pub(in crate::cli) json: bool,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Shutdown {
    /// Do not wait for open connections: cut them
    #[arg(long)]
    pub(in crate::cli) now: bool,
    /// Time to wait, such as 30s; afterwards the stop goes on
    #[arg(long, value_name = "TIME", value_parser = patience)]
    pub(in crate::cli) timeout: Option<Duration>,
}
