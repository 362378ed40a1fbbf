//! `roundelay drill`: injects every fault that a server must survive into the user's own program under checked load,
//! and shows what was promised, allowed and observed.
//!
//! Each fault gets a fresh setup. The load is the checker's: it starts operations by a fixed schedule, checks every
//! byte of the framing (for the demo every byte of the answer), and gives each failure a class and a time. A failure is
//! excused only if the fault explains its class and its time, and only as many as the fault can have caused.
//!
//! # The map
//!
//! A module uses what stands above it.
//!
//! | module | what it is | |
//! |---|---|---|
//! | `fault` | the table of faults, and the targets on which each can be run | pure |
//! | `checked`, `allowed` | the results of the load, and the failures that are no defect | pure |
//! | `promise`, `waits` | promises and observations, the verdict; promises about time | pure |
//! | `outcome`, `report` | a whole drill as JSON, tables, Markdown | pure |
//! | `args` | the flags | pure |
//! | `files` | writes the files that the user asked for | |
//! | `waiting` | waits that Ctrl-C can end | |
//! | `release`, `full_disk` | broken releases of a program, and a disk that is full | |
//! | `target` | the target of a drill: a setup with additions | |
//! | `fault_run` | a fault under way: target, load, random choices | |
//! | `faults` | the actions of the faults | |

mod allowed;
mod args;
mod checked;
mod fault;
mod fault_run;
mod faults;
mod files;
mod full_disk;
mod outcome;
mod promise;
mod release;
mod report;
mod target;
mod waiting;
mod waits;

use std::io::{IsTerminal, Write};

use fastrand::Rng;
use tokio::time::Instant;

pub use args::{DrillArgs, Peer};
pub use checked::{Checked, Failed};
pub use fault::{About, Fault};
pub use outcome::{Drill, Outcome, SCHEMA};
pub use promise::{Promise, Verdict};

use crate::failure::{Failure, code};
use crate::interrupt::Interrupt;
use crate::limits;
use crate::setup::Way;
use crate::subject::{Product, Workload};
use fault_run::{Asked, FaultRun, Played, RunError};
use target::{Candidate, Target};
use waiting::Waiting;

/// Runs the faults and prints the results to standard output: each fault when it is over, and a table at the end.
/// Blocks. Ctrl-C is handled for the rest of the process's life.
///
/// The exit code is [`code::OK`] if the product kept every promise that was tested, [`code::FAILED`] if it broke one or
/// nothing is proved, or [`code::INTERRUPTED`]. The results of other targets do not count.
///
/// # Errors
///
/// There is no such way, the product refuses the program, the program does not answer, or a file cannot be written.
pub fn run(args: &DrillArgs, product: &Product) -> Result<u8, Failure> {
    if args.list {
        say(&report::list());
        return Ok(code::OK);
    }
    let candidates = candidates(args, product)?;
    let waiting = Waiting::new(Interrupt::watch()?);
    files::check(args)?;
    limits::raise_open_files();
    let seed = args.seed.unwrap_or_else(|| u64::from(fastrand::u32(..)));
    let asked = Asked { path: args.path.clone(), rate: args.rate, length: args.length, seed };
    let mut drill = Drill {
        schema: SCHEMA,
        version: product.version.clone(),
        is_partial: false,
        workload: match args.workload() {
            Workload::Demo => "the demo".to_owned(),
            Workload::Command(words) => words.join(" "),
        },
        workers: args.workers.into(),
        rate: args.rate,
        length_seconds: args.length.as_secs_f64(),
        seed,
        targets: candidates.iter().map(|candidate| candidate.way.name().to_owned()).collect(),
        outcomes: Vec::new(),
    };
    let Drill { version, workers, rate, .. } = &drill;
    say(&format!(
        "roundelay {version}   {workers} workers of {}   {rate} operations a second   seed {seed}\n\n",
        report::line(&drill.workload)
    ));
    for candidate in &candidates {
        for fault in args.faults() {
            if waiting.is_asked() {
                drill.is_partial = true;
                break;
            }
            progress(&format!("{} on {}", fault.name(), candidate.way.name()));
            let run = run_one(candidate, fault, args, product, &asked, &waiting);
            progress("");
            let is_first = drill.outcomes.iter().all(|outcome| matches!(outcome.verdict, Verdict::Skipped(_)));
            let run = match run {
                // Nothing was measured yet, and nothing will be.
                Err(failure) if is_first => return Err(failure),
                Err(failure) => Some(Outcome {
                    verdict: Verdict::Void(format!("could be drilled before, and now: {}", failure.in_one_line())),
                    ..Outcome::skipped(candidate.way.name(), fault, "")
                }),
                Ok(run) => run,
            };
            match run {
                Some(outcome) => {
                    say(&report::outcome(&outcome));
                    drill.outcomes.push(outcome);
                }
                None => drill.is_partial = true,
            }
        }
    }
    say(&format!("\n{}", report::table(&drill)));
    files::write(args, &drill)?;
    Ok(match (drill.is_partial, drill.is_passed()) {
        (true, _) => code::INTERRUPTED,
        (false, true) => code::OK,
        (false, false) => code::FAILED,
    })
}

/// Returns the targets, the product first.
fn candidates(args: &DrillArgs, product: &Product) -> Result<Vec<Candidate>, Failure> {
    let known = || product.ways.iter().map(|way| way.name.as_str()).collect::<Vec<_>>().join(", ");
    let way = match &args.way {
        None => product.ways.first(),
        Some(name) => product.ways.iter().find(|way| way.name == *name),
    };
    let Some(way) = way else {
        let name = args.way.as_deref().unwrap_or_default();
        return Err(
            Failure::new(code::USAGE, format!("there is no way `{name}`")).hint(format!("there are {}", known()))
        );
    };
    let needs_node = args.against.iter().any(|peer| matches!(peer, Peer::Pm2 | Peer::NodeCluster));
    if needs_node && args.workload().node_file().is_none() {
        let error = "only a Node application can be drilled against pm2 and node-cluster";
        return Err(Failure::new(code::USAGE, error).hint("give one: roundelay drill --against pm2 -- node app.js"));
    }
    let others = args.against.iter().map(|peer| match peer {
        Peer::Pm2 => Way::Pm2,
        Peer::NodeCluster => Way::NodeCluster,
        Peer::Direct => Way::Direct,
    });
    let workers = usize::from(args.workers);
    let all = std::iter::once(Way::Product(way.clone())).chain(others);
    Ok(all.map(|way| Candidate { way, workload: args.workload(), workers }).collect())
}

/// Runs one fault on one target, which is set up and ended; `None` if the user interrupted it.
///
/// # Errors
///
/// The product refuses or cannot start the program, or the program does not answer: then no fault can be run.
fn run_one(
    candidate: &Candidate,
    fault: Fault,
    args: &DrillArgs,
    product: &Product,
    asked: &Asked,
    waiting: &Waiting,
) -> Result<Option<Outcome>, Failure> {
    let name = candidate.way.name();
    if let Err(why) = fault.applies(candidate.manner()) {
        return Ok(Some(Outcome::skipped(name, fault, why)));
    }
    let begun = Instant::now();
    let mut wish = faults::wish(fault);
    wish.options.extend(args.set.iter().cloned());
    let is_special = wish.full_disk || wish.nofile.is_some();
    let started = candidate.start(product, wish);
    let is_started = started.is_ok();
    let run = started.map_err(RunError::from).and_then(|target| fault_run(target, fault, asked, waiting));
    let failed = |why: &str, hint: &str| {
        Err(Failure::new(code::FAILED, format!("cannot drill {name}")).cause(report::line(why)).hint(hint.to_owned()))
    };
    let is_product = matches!(candidate.way, Way::Product(_));
    let mut outcome = match run {
        Ok(outcome) => Outcome { target: name.to_owned(), ..outcome },
        Err(RunError::Aborted) => return Ok(None),
        Err(RunError::Unanswered(why)) if is_product => {
            return failed(&why, "name what it answers GET with status 200: --path /index.html");
        }
        // A fault may need something that this machine lacks; with another error no fault can be run.
        Err(RunError::Unable(why)) if is_product && !is_special => {
            return failed(&why, "choose another --way, or see what `roundelay run` says of that program");
        }
        Err(RunError::Failed(why)) if is_product && !is_special && !is_started => {
            return failed(&why, "see what `roundelay run` says of that program");
        }
        Err(RunError::Unable(why)) => Outcome::skipped(name, fault, why),
        Err(RunError::Failed(why) | RunError::Unanswered(why)) => Outcome {
            verdict: Verdict::Failed,
            promises: vec![Promise::new("it can be drilled", "cannot be drilled", "", why, false)],
            ..Outcome::skipped(name, fault, "")
        },
    };
    outcome.took_seconds = begun.elapsed().as_secs_f64();
    Ok(Some(outcome))
}

/// Runs a fault on a target that is set up. The target is ended when this returns.
fn fault_run(target: Target, fault: Fault, asked: &Asked, waiting: &Waiting) -> Result<Outcome, RunError> {
    // Each fault has its own random generator, so that leaving one out does not change the victims of the others.
    let random = Rng::with_seed(asked.seed.wrapping_add(fault as u64));
    let mut fault_run = FaultRun::begin(target, asked, faults::has_drains(fault), waiting, random)?;
    let allowed = faults::run(fault, &mut fault_run)?;
    let (has_others, usual) = (faults::has_others(fault) && fault_run.has_others(), fault_run.usual);
    let Played { done, mut promises, checked, remark } = fault_run.end()?;
    if has_others {
        promises.push(waits::no_silence(&checked, usual));
    }
    promises.push(Promise::answered(&checked, &allowed));
    let verdict = promise::verdict(&promises, &checked);
    Ok(Outcome { verdict, done, promises, load: Some(checked), remark, ..Outcome::skipped("", fault, "") })
}

/// Prints to standard output. If that is closed, the exit code and the files still show the result.
fn say(text: &str) {
    let mut out = anstream::stdout();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// Shows the present action on the terminal, in place of the one before.
fn progress(what: &str) {
    let mut err = std::io::stderr();
    if err.is_terminal() {
        let _ = write!(err, "\r\x1b[2K{what}");
    }
}
