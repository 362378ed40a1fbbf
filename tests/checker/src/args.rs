//! The flags of the program.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use roundelay_checker::{Allowance, Ask, Length, Mix, Plan, Protocol, Target};

/// Load that checks every answer and says of each failure what it was.
///
/// Exits with 0 if nothing failed that is not allowed, 1 if something did, 2 for wrong usage, 3 if the generator itself
/// was the limit, so that nothing is proved.
#[derive(Debug, Parser)]
#[command(name = "roundelay-checker", version, max_term_width = 100)]
pub(crate) struct Args {
    /// Who is asked, HOST:PORT or unix:/path; several in turn
    #[arg(long, required = true, value_name = "TARGET")]
    target: Vec<Target>,
    /// What is spoken
    #[arg(long, value_enum, default_value = "http")]
    protocol: ProtocolArg,
    /// What ordinary HTTP requests ask for: the echo of a token, a blob, who the worker is, or any page
    #[arg(long, value_enum, default_value = "echo")]
    ask: AskArg,
    /// Kinds of clients with weights: one-shot, keep-alive, stubborn, half-close, upload, slow-reader, websocket
    #[arg(long, value_name = "KIND=WEIGHT,...", default_value = "one-shot")]
    kind: Mix,
    /// Operations a second
    #[arg(long, default_value = "100")]
    rate: f64,
    /// How long, such as 30s or 2m [default: 10s]
    #[arg(long, value_parser = humantime::parse_duration, conflicts_with = "count")]
    duration: Option<Duration>,
    /// How many operations, instead of a duration
    #[arg(long)]
    count: Option<u64>,
    /// How long an operation may take
    #[arg(long, value_parser = humantime::parse_duration, default_value = "10s")]
    timeout: Duration,
    /// Operations under way at most; what would be more is not started, and the verdict void
    #[arg(long, default_value = "2000")]
    max_open: usize,
    /// Repeats the order of kinds, the sizes and the tokens of an earlier run
    #[arg(long)]
    seed: Option<u64>,
    /// The size of ordinary contents in bytes
    #[arg(long, default_value = "256")]
    bytes: u64,
    /// Connections that keep-alive and stubborn clients keep, for each kind and target
    #[arg(long, default_value = "16")]
    connections: usize,
    /// The size of uploads in bytes
    #[arg(long, value_name = "MIN-MAX", value_parser = range, default_value = "1048576-8388608")]
    upload_bytes: RangeInclusive<u64>,
    /// The size of a slow reader's answer in bytes
    #[arg(long, default_value = "2097152")]
    slow_bytes: u64,
    /// A slow reader pauses after so many bytes
    #[arg(long, default_value = "32768")]
    slow_piece: usize,
    /// How long a slow reader pauses
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
    /// Path of the page, of which nothing is known but that it is whole
    #[arg(long, default_value = "/")]
    page_path: String,
    /// Failures that the report describes; all are counted
    #[arg(long, value_name = "N", default_value = "100")]
    keep_failures: usize,
    /// So many failures of a class are no defect; repeat for other classes
    #[arg(long, value_name = "CLASS=N")]
    allow: Vec<Allowance>,
    /// Write the report there as JSON
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
    /// The plan, not yet checked.
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

/// `MIN-MAX`, or one number for both.
fn range(text: &str) -> Result<RangeInclusive<u64>, String> {
    let (least, most) = text.split_once('-').unwrap_or((text, text));
    let number = |text: &str| text.parse::<u64>().map_err(|_| format!("`{text}` is no number of bytes"));
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
    fn the_flags_are_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn the_defaults_of_the_flags_are_those_of_the_library() {
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
