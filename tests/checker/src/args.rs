//! The flags of the program.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use roundelay_checker::{Allowance, Ask, Length, Mix, Plan, Protocol, Target};

/// Load that checks every answer and reports the class of each failure.
///
/// Exits with 0 if there was no failure beyond those allowed, 1 if there was one, 2 for wrong usage, and 3 if the
/// generator itself was the limit, so that nothing is proved.
#[derive(Debug, Parser)]
#[command(name = "roundelay-checker", version, max_term_width = 100)]
pub(crate) struct Args {
    /// Address that gets the requests, HOST:PORT or unix:/path; several in turn
    #[arg(long, required = true, value_name = "TARGET")]
    target: Vec<Target>,
    /// Protocol of the requests
    #[arg(long, value_enum, default_value = "http")]
    protocol: ProtocolArg,
    /// Answer that ordinary HTTP requests ask for: the echo of a token, a blob, the worker's name, or any page
    #[arg(long, value_enum, default_value = "echo")]
    ask: AskArg,
    /// Kinds of clients with weights: one-shot, keep-alive, stubborn, half-close, upload, slow-reader, websocket
    #[arg(long, value_name = "KIND=WEIGHT,...", default_value = "one-shot")]
    kind: Mix,
    /// Operations a second
    #[arg(long, default_value = "100")]
    rate: f64,
    /// Duration of the load, such as 30s or 2m [default: 10s]
    #[arg(long, value_parser = humantime::parse_duration, conflicts_with = "count")]
    duration: Option<Duration>,
    /// Number of operations, instead of a duration
    #[arg(long)]
    count: Option<u64>,
    /// Time limit of an operation
    #[arg(long, value_parser = humantime::parse_duration, default_value = "10s")]
    timeout: Duration,
    /// Most open operations; further ones are not started, and the verdict is void
    #[arg(long, default_value = "2000")]
    max_open: usize,
    /// Repeats the order of kinds, the sizes and the tokens of an earlier run
    #[arg(long)]
    seed: Option<u64>,
    /// Size of ordinary contents in bytes
    #[arg(long, default_value = "256")]
    bytes: u64,
    /// Connections that keep-alive and stubborn clients keep, for each kind and target
    #[arg(long, default_value = "16")]
    connections: usize,
    /// Size of uploads in bytes
    #[arg(long, value_name = "MIN-MAX", value_parser = range, default_value = "1048576-8388608")]
    upload_bytes: RangeInclusive<u64>,
    /// Size of a slow reader's answer in bytes
    #[arg(long, default_value = "2097152")]
    slow_bytes: u64,
    /// Bytes after which a slow reader pauses
    #[arg(long, default_value = "32768")]
    slow_piece: usize,
    /// Length of a slow reader's pause
    #[arg(long, value_parser = humantime::parse_duration, default_value = "10ms")]
    slow_pause: Duration,
    /// Time between the messages of a websocket
    #[arg(long, value_parser = humantime::parse_duration, default_value = "200ms")]
    session_interval: Duration,
    /// Messages of one websocket
    #[arg(long, default_value = "50")]
    session_messages: u64,
    /// Path of the echo
    #[arg(long, default_value = "/echo")]
    echo_path: String,
    /// Path of the blob, before its number of bytes
    #[arg(long, default_value = "/blob/")]
    blob_path: String,
    /// Path of the line that names the worker
    #[arg(long, default_value = "/")]
    worker_path: String,
    /// Path of the page; only its completeness is checked, not its content
    #[arg(long, default_value = "/")]
    page_path: String,
    /// Most failures that the report describes; all are counted
    #[arg(long, value_name = "N", default_value = "100")]
    keep_failures: usize,
    /// Failures of a class that are allowed; repeat for other classes
    #[arg(long, value_name = "CLASS=N")]
    allow: Vec<Allowance>,
    /// Writes the report to this file as JSON
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum ProtocolArg {
    /// HTTP/1.1
    Http,
    /// Raw bytes that come back
    Tcp,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum AskArg {
    Echo,
    Blob,
    Worker,
    Page,
}

impl Args {
    /// Makes the plan. The plan is not checked yet.
    pub(crate) fn plan(&self) -> Option<Plan> {
        let mut plan = Plan::new(self.target.first()?.clone());
        plan.targets.clone_from(&self.target);
        plan.protocol = match (self.protocol, self.ask) {
            (ProtocolArg::Tcp, _) => Protocol::Tcp,
            (ProtocolArg::Http, AskArg::Echo) => Protocol::Http(Ask::Echo),
            (ProtocolArg::Http, AskArg::Blob) => Protocol::Http(Ask::Blob),
            (ProtocolArg::Http, AskArg::Worker) => Protocol::Http(Ask::Worker),
            (ProtocolArg::Http, AskArg::Page) => Protocol::Http(Ask::Page),
        };
        plan.kinds.clone_from(&self.kind);
        plan.rate = self.rate;
        let duration = self.duration.unwrap_or(Duration::from_secs(10));
        plan.length = self.count.map_or(Length::For(duration), Length::Count);
        plan.timeout = self.timeout;
        plan.max_open = self.max_open;
        plan.seed = self.seed.unwrap_or(plan.seed);
        plan.bytes = self.bytes;
        plan.connections = self.connections;
        plan.upload.clone_from(&self.upload_bytes);
        plan.slow.bytes = self.slow_bytes;
        plan.slow.piece = self.slow_piece;
        plan.slow.pause = self.slow_pause;
        plan.session.interval = self.session_interval;
        plan.session.messages = self.session_messages;
        plan.paths.echo.clone_from(&self.echo_path);
        plan.paths.blob.clone_from(&self.blob_path);
        plan.paths.worker.clone_from(&self.worker_path);
        plan.paths.page.clone_from(&self.page_path);
        plan.keep_failures = self.keep_failures;
        Some(plan)
    }

    pub(crate) fn allowance(&self) -> Allowance {
        self.allow.iter().cloned().fold(Allowance::none(), Allowance::and)
    }
}

/// Reads `MIN-MAX`, or one number for both.
fn range(text: &str) -> Result<RangeInclusive<u64>, String> {
    let (least, most) = text.split_once('-').unwrap_or((text, text));
    let number = |text: &str| text.parse::<u64>().map_err(|_| format!("`{text}` is not a number of bytes"));
    Ok(number(least)?..=number(most)?)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn plan(flags: &str) -> Plan {
        let words = ["roundelay-checker", "--target", "127.0.0.1:80"].into_iter().chain(flags.split_whitespace());
        Args::try_parse_from(words).unwrap().plan().unwrap()
    }

    #[test]
    fn flags_are_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn default_flags_are_the_defaults_of_the_library() {
        let library = Plan { seed: 1, ..Plan::new(plan("").targets.remove(0)) };
        assert_eq!(format!("{:?}", plan("--seed 1")), format!("{library:?}"));
    }

    #[test]
    fn flags_become_a_plan() {
        let plan = plan("--count 5 --protocol tcp --upload-bytes 100-200 --kind upload=1,websocket=2");
        assert_eq!(plan.length, Length::Count(5));
        assert_eq!(plan.protocol, Protocol::Tcp);
        assert_eq!(plan.upload, 100..=200);
        assert_eq!(plan.kinds.to_string(), "upload=1,websocket=2");
    }
}
