//! The flags of `compare` and `report`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use crate::analysis::Assertion;

/// Flags of `roundelay compare`.
#[derive(Clone, Debug, Args)]
pub struct CompareArgs {
    /// The default mode and some strategies, three scenarios; under two minutes
    #[arg(long, conflicts_with = "full")]
    pub quick: bool,
    /// All ways and all scenarios; some hours
    #[arg(long)]
    pub full: bool,
    /// Ways to compare, or all; --list shows them
    #[arg(long, value_name = "NAME,...", value_delimiter = ',')]
    pub ways: Vec<String>,
    /// Scenarios to run, or all; --list shows them
    #[arg(long, value_name = "NAME,...", value_delimiter = ',')]
    pub scenarios: Vec<String>,
    /// Your own scenarios (TOML); without --scenarios, only these
    #[arg(long, value_name = "FILE")]
    pub scenario_file: Option<PathBuf>,
    /// List the ways and scenarios, and exit
    #[arg(long)]
    pub list: bool,
    /// Number of workers
    #[arg(short = 'i', long, value_name = "N", default_value = "4", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub workers: u16,
    /// Number of concurrent clients
    #[arg(long, value_name = "N", default_value = "64", value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub connections: u16,
    /// Length of each measurement [default: 1s; quick 600ms, full 2s]
    #[arg(long, value_name = "TIME", value_parser = length)]
    pub duration: Option<Duration>,
    /// Repetitions, each with fresh workers; a verdict needs 5
    #[arg(long, value_name = "N", default_value = "5", value_parser = clap::value_parser!(u16).range(1..=100))]
    pub repeat: u16,
    /// Requests per second of the open loop, instead of parts of the lowest saturation
    #[arg(long, value_name = "N", value_parser = rate)]
    pub rate: Option<f64>,
    /// Path to request in scenarios that any program can serve
    #[arg(long, value_name = "PATH", default_value = "/", value_parser = path)]
    pub path: String,
    /// Time after which a request counts as failed
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = length)]
    pub timeout: Duration,
    /// Seed that repeats the order of requests of an earlier run
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// Folder for report.html, .json, .md and .csv
    #[arg(long, value_name = "DIR", default_value = "roundelay-report")]
    pub out: PathBuf,
    /// An earlier report.json to compare with
    #[arg(long, value_name = "FILE")]
    pub baseline: Option<PathBuf>,
    /// Exit with 8 if this does not hold; repeatable
    #[arg(long = "assert", value_name = "EXPR")]
    pub assertions: Vec<Assertion>,
    /// Program and arguments; {port} stands for the worker's port
    #[arg(last = true, value_name = "CMD")]
    pub command: Vec<String>,
}

/// Flags of `roundelay report`.
#[derive(Clone, Debug, Args)]
pub struct ReportArgs {
    /// A report.json; with a second one, the changes from the first
    #[arg(value_name = "FILE", num_args = 1..=2, required = true)]
    pub files: Vec<PathBuf>,
    /// Write the pages of the report again into this folder
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Exit with 8 if this does not hold in the last file; repeatable
    #[arg(long = "assert", value_name = "EXPR")]
    pub assertions: Vec<Assertion>,
}

fn length(text: &str) -> Result<Duration, String> {
    let length = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    let bounds = Duration::from_millis(100)..=Duration::from_secs(600);
    if bounds.contains(&length) { Ok(length) } else { Err(String::from("it must be 100ms to 10m")) }
}

fn rate(text: &str) -> Result<f64, String> {
    let rate: f64 = text.parse().map_err(|_| format!("`{text}` is no number"))?;
    if (1.0..=1_000_000.0).contains(&rate) { Ok(rate) } else { Err(String::from("it must be 1 to 1000000 a second")) }
}

fn path(text: &str) -> Result<String, String> {
    let is_path = text.starts_with('/') && text.chars().all(|c| c.is_ascii_graphic());
    if is_path { Ok(String::from(text)) } else { Err(String::from("a path begins with / and has no blanks")) }
}
