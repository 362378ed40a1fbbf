//! The `roundelay-checker` binary: flags, progress, report, exit code.

mod args;

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use roundelay_checker::{Load, Plan, Record, report};
use rustix::process::{Resource, getrlimit, setrlimit};
use tokio::time::{Instant, sleep};

use args::Args;

/// The exit code for wrong usage.
const USAGE: u8 = 2;

/// The interval at which the program checks if the load has ended.
const LOOK: Duration = Duration::from_millis(20);

fn main() -> ExitCode {
    let args = Args::parse();
    let Some(plan) = args.plan() else { return usage("no target") };
    if let Err(error) = plan.check() {
        return usage(error);
    }
    raise_descriptor_limit();
    let record = match run(plan.clone()) {
        Ok(record) => record,
        Err(error) => return failed("cannot make the load", &error),
    };
    let allowance = args.allowance();
    // Standard output may be closed. The exit code and the file still show the result.
    let _ = writeln!(io::stdout(), "{}seed: {}", report::table(&record, &allowance), plan.seed);
    if let Some(path) = &args.json
        && let Err(error) = std::fs::write(path, report::json(&plan, &record, &allowance) + "\n")
    {
        return failed(&format!("cannot write {}", path.display()), &error);
    }
    ExitCode::from(record.verdict(&allowance).code())
}

/// Runs until the plan is carried out or the user interrupts. A second interrupt ends the program at once.
fn run(plan: Plan) -> io::Result<Record> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let load = Load::start(plan)?;
    runtime.block_on(async {
        let interrupted = async {
            // Without a handler the signal ends the program, as by default.
            if tokio::signal::ctrl_c().await.is_err() {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            () = watch(&load) => {}
            () = interrupted => {
                tokio::spawn(async {
                    if tokio::signal::ctrl_c().await.is_ok() {
                        std::process::exit(130);
                    }
                });
            }
        }
    });
    let stopping = std::thread::spawn(move || load.stop());
    runtime.block_on(async {
        while !stopping.is_finished() {
            sleep(LOOK).await;
        }
    });
    stopping.join().map_err(|_| io::Error::other("the load's thread panicked"))
}

/// Returns at the end of the load. Shows the progress if standard error is a terminal.
async fn watch(load: &Load) {
    let mut stderr = io::stderr();
    let mut next = Instant::now() + Duration::from_secs(1);
    while !load.is_over() {
        sleep(LOOK).await;
        if Instant::now() >= next {
            next += Duration::from_secs(1);
            if stderr.is_terminal() {
                let _ = writeln!(stderr, "{}", report::progress(&load.so_far()));
            }
        }
    }
}

/// Raises the limit of descriptors. Each operation needs a descriptor, and many shells allow a thousand. If the limit
/// stays too low, the report shows it.
fn raise_descriptor_limit() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    let _ = setrlimit(Resource::Nofile, limit);
}

fn usage(error: impl std::fmt::Display) -> ExitCode {
    let _ = writeln!(io::stderr(), "error: {error}");
    ExitCode::from(USAGE)
}

fn failed(what: &str, error: &io::Error) -> ExitCode {
    let _ = writeln!(io::stderr(), "error: {what}\ncause: {error}");
    // Nothing is proved, and nothing is refuted.
    ExitCode::from(3)
}
