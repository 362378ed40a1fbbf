//! The flags of `roundelay drill`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::fault::Fault;
use crate::subject::Workload;

/// Inject the faults that a server must survive into your own program, under load that checks every answer.
#[derive(Args, Clone, Debug)]
pub struct DrillArgs {
    /// Program and arguments of a worker; {port} stands for its port [default: the demo]
    #[arg(last = true, value_name = "CMD")]
    pub command: Vec<String>,
    /// Only these faults; --list names all
    #[arg(long, value_enum, value_delimiter = ',', hide_possible_values = true, value_name = "FAULT,...")]
    pub only: Vec<Fault>,
    /// List the faults with their promises, and exit
    #[arg(long)]
    pub list: bool,
    /// Seed that repeats the victims, moments and requests of an earlier drill
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// Operations per second
    #[arg(long, value_name = "N", default_value = "300", value_parser = rate)]
    pub rate: f64,
    /// Number of workers
    #[arg(short = 'i', long, value_name = "N", default_value = "4", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub workers: u16,
    /// Path to request from CMD; it must answer GET with status 200 (the demo has its own)
    #[arg(long, value_name = "PATH", default_value = "/", value_parser = path)]
    pub path: String,
    /// Least time that the load of a fault lasts, such as 10s
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = length)]
    pub length: Duration,
    /// Mode or strategy to test, by its name in `roundelay compare --list` [default: the first]
    #[arg(long, value_name = "NAME")]
    pub way: Option<String>,
    /// Set any key of the configuration, such as pool.app.drain=signal
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// Run the same faults on others, too; their failures do not change the exit code
    #[arg(long, value_enum, value_delimiter = ',', value_name = "NAME,...")]
    pub against: Vec<Peer>,
    /// Write the results there as JSON
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Write the results there as Markdown
    #[arg(long, value_name = "FILE")]
    pub markdown: Option<PathBuf>,
}

/// Other targets that can be drilled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Peer {
    /// pm2 in cluster mode; needs `node FILE`
    Pm2,
    /// Node's own cluster; needs `node FILE`
    NodeCluster,
    /// One worker without a balancer
    Direct,
}

impl DrillArgs {
    /// The program that the workers run.
    pub(crate) fn workload(&self) -> Workload {
        if self.command.is_empty() { Workload::Demo } else { Workload::Command(self.command.clone()) }
    }

    /// Returns the faults to run, each once, in the order of the table.
    pub(crate) fn faults(&self) -> Vec<Fault> {
        let is_wanted = |fault: &Fault| self.only.is_empty() || self.only.contains(fault);
        Fault::ALL.into_iter().filter(is_wanted).collect()
    }
}

fn rate(text: &str) -> Result<f64, String> {
    let wrong = || format!("`{text}` is no rate from 1 to 10000 operations a second");
    let rate: f64 = text.parse().map_err(|_| wrong())?;
    if (1.0..=10_000.0).contains(&rate) { Ok(rate) } else { Err(wrong()) }
}

fn path(text: &str) -> Result<String, String> {
    let is_path = text.starts_with('/') && !text.contains(|c: char| c.is_whitespace() || c.is_control() || c == '#');
    if is_path { Ok(text.to_owned()) } else { Err(format!("`{text}` is no path such as /index.html")) }
}

fn length(text: &str) -> Result<Duration, String> {
    let length = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    let may_be = Duration::from_secs(1)..=Duration::from_secs(3600);
    if may_be.contains(&length) { Ok(length) } else { Err("it must be 1s to 1h".to_owned()) }
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::*;

    #[derive(Debug, Parser)]
    struct Program {
        #[command(flatten)]
        drill: DrillArgs,
    }

    fn parse(words: &[&str]) -> Result<DrillArgs, String> {
        let all = std::iter::once("drill").chain(words.iter().copied());
        Program::try_parse_from(all).map(|program| program.drill).map_err(|error| error.to_string())
    }

    #[test]
    fn flags_fit_together() {
        Program::command().debug_assert();
    }

    #[test]
    fn without_flags_everything_is_played_on_the_demo() {
        let args = parse(&[]).unwrap();
        assert_eq!((args.workload(), args.faults()), (Workload::Demo, Fault::ALL.to_vec()));
        assert_eq!((args.rate, args.workers, args.length), (300.0, 4, Duration::from_secs(10)));
    }

    #[test]
    fn faults_are_run_in_the_order_of_the_table_each_once() {
        let args = parse(&["--only", "stop,kill", "--only", "kill", "--", "node", "app.js", "--list"]).unwrap();
        assert_eq!(args.faults(), [Fault::Kill, Fault::Stop]);
        assert_eq!(args.workload().node_file(), Some("app.js"));
        assert!(!args.list, "that one is the program's");
        assert_eq!(parse(&["--against", "pm2,node-cluster"]).unwrap().against, [Peer::Pm2, Peer::NodeCluster]);
    }

    #[test]
    fn senseless_flags_are_refused() {
        for wrong in
            [&["--only", "flood"][..], &["--rate", "0"], &["--rate", "nan"], &["--workers", "0"], &["--path", "x"]]
        {
            assert!(parse(wrong).is_err(), "{wrong:?}");
        }
        for wrong in [&["--length", "0s"][..], &["--length", "10"], &["--against", "haproxy"], &["--path", "/a b"]] {
            assert!(parse(wrong).is_err(), "{wrong:?}");
        }
    }
}
