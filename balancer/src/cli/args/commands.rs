//! The commands that command something of a running master.

use std::time::Duration;

use clap::Args;

/// Nobody waits longer, and clocks cannot tell any time.
const LONGEST: Duration = Duration::from_secs(366 * 24 * 3600);

fn patience(text: &str) -> Result<Duration, String> {
    let time = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    if time <= LONGEST { Ok(time) } else { Err("at most 366 days".to_owned()) }
}

/// The flags for watching a command.
#[derive(Debug, Default, Args)]
pub(in crate::cli) struct Watching {
    /// Wait no longer, such as 30s; what was begun goes on
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
    /// Every worker of every pool
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
    /// The strategy to choose by from now on [default: show them]
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
    /// Say it as a string, whatever it looks like
    #[arg(long)]
    pub(in crate::cli) text: bool,
    /// Print as JSON which workers were told
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
    /// Without waiting for open connections, which are cut
    #[arg(long)]
    pub(in crate::cli) now: bool,
    /// Wait no longer, such as 30s; the stop goes on
    #[arg(long, value_name = "TIME", value_parser = patience)]
    pub(in crate::cli) timeout: Option<Duration>,
}
