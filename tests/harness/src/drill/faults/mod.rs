//! What is done under load, one fault a file. Each gives back which failures are no defect.

mod descriptors;
mod drains;
mod full_disk;
mod kill;
mod master_kill;
mod release;
mod reload_storm;
mod slow_worker;
mod stop;

use std::time::Duration;

use super::allowed::Allowed;
use super::fault::{Fault, Manner};
use super::fault_run::{FaultRun, RunError};
use super::release::Release;
use super::target::Wish;

/// The time after its cause in which a failure may still begin: the process between has to notice it first, on a
/// machine that may
/// be busy.
const SLACK: Duration = Duration::from_millis(500);

/// Descriptors of the master in [`Fault::Descriptors`]: what it keeps for itself (256), and 32 connections of two each.
const FEW_DESCRIPTORS: u64 = 320;

/// The options that a fault wants of its target's start.
pub(crate) fn wish(fault: Fault) -> Wish {
    match fault {
        // Waited for in full, and much more than a program takes that is sound.
        Fault::NeverReady => Wish { options: vec!["pool.{pool}.ready-timeout=3s".to_owned()], ..Wish::default() },
        Fault::FullDisk => Wish { full_disk: true, ..Wish::default() },
        Fault::Descriptors => Wish { nofile: Some(FEW_DESCRIPTORS), ..Wish::default() },
        Fault::Kill | Fault::Stop | Fault::BadRelease | Fault::SlowWorker | Fault::MasterKill | Fault::ReloadStorm => {
            Wish::default()
        }
    }
}

/// Returns true if workers are drained in it.
pub(crate) fn has_drains(fault: Fault) -> bool {
    matches!(fault, Fault::NeverReady | Fault::BadRelease | Fault::ReloadStorm)
}

/// Returns true if others serve all the time in it, so that somebody is answered at any time.
pub(crate) fn has_others(fault: Fault) -> bool {
    match fault {
        Fault::Kill | Fault::Stop | Fault::NeverReady | Fault::BadRelease | Fault::SlowWorker | Fault::ReloadStorm => {
            true
        }
        Fault::FullDisk | Fault::Descriptors | Fault::MasterKill => false,
    }
}

/// Does it, and adds its promises to the fault run; which failures are allowed is known only then.
pub(crate) fn run(fault: Fault, fault_run: &mut FaultRun<'_>) -> Result<Allowed, RunError> {
    match fault {
        Fault::Kill => kill::run(fault_run),
        Fault::Stop => stop::run(fault_run),
        Fault::NeverReady => release::run(fault_run, Release::NeverReady),
        Fault::BadRelease => release::run(fault_run, Release::Exits),
        Fault::SlowWorker => slow_worker::run(fault_run),
        Fault::FullDisk => full_disk::run(fault_run),
        Fault::Descriptors => descriptors::run(fault_run),
        Fault::MasterKill => master_kill::run(fault_run),
        Fault::ReloadStorm => reload_storm::run(fault_run),
    }
}

/// Connections that were broken by the end of their worker since the counter was `before`; none where nobody counts
/// them. They are counted when their relay has ended, which may take a moment: read until it is the same twice.
fn broken_since(fault_run: &mut FaultRun<'_>, before: Option<u64>) -> Result<Option<u64>, RunError> {
    let Some(before) = before else { return Ok(None) };
    let mut last = None;
    for _ in 0..10 {
        fault_run.pause(SLACK)?;
        let now = fault_run.target.broken_connections()?;
        if now == last {
            break;
        }
        last = now;
    }
    Ok(last.map(|now| now.saturating_sub(before)))
}

/// The number of harmed workers that were replaced, and the time that it took.
fn replaced_words(replaced: u64, harmed: u64, slowest: Duration) -> String {
    match replaced {
        0 => format!("none of {harmed}"),
        _ => format!("{replaced} of {harmed}, the slowest after {:.2} s", slowest.as_secs_f64()),
    }
}

/// Returns true if the target resets what a dead worker had begun. Where the kernel does it, an answer may look whole.
fn ends_show(manner: Manner) -> bool {
    // Linux 6.9 is the first on which a relay can tell a killed peer's orderly end from a good one.
    manner == Manner::Proxy && kernel_is_at_least((6, 9))
}

fn kernel_is_at_least(wanted: (u32, u32)) -> bool {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map_while(|number| number.parse().ok());
    let found = numbers.next().zip(numbers.next());
    found.is_some_and(|found: (u32, u32)| found >= wanted)
}
