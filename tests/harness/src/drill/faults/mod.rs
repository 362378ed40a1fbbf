//! The actions of the faults, one file each. Each returns the failures that are no defect.

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

/// The time after its cause in which a failure may still begin: the process in front of the worker must notice the
/// cause first, and the machine may be busy.
const SLACK: Duration = Duration::from_millis(500);

/// The descriptors of the master in [`Fault::Descriptors`]: 256 that it keeps for itself, and 32 connections of two
/// each.
const FEW_DESCRIPTORS: u64 = 320;

/// Returns the start options that a fault needs.
pub(crate) fn wish(fault: Fault) -> Wish {
    match fault {
        // This time is always waited for in full, and a sound program needs much less.
        Fault::NeverReady => Wish { options: vec!["pool.{pool}.ready-timeout=3s".to_owned()], ..Wish::default() },
        Fault::FullDisk => Wish { full_disk: true, ..Wish::default() },
        Fault::Descriptors => Wish { nofile: Some(FEW_DESCRIPTORS), ..Wish::default() },
        Fault::Kill | Fault::Stop | Fault::BadRelease | Fault::SlowWorker | Fault::MasterKill | Fault::ReloadStorm => {
            Wish::default()
        }
    }
}

/// Returns true if the fault drains workers.
pub(crate) fn has_drains(fault: Fault) -> bool {
    matches!(fault, Fault::NeverReady | Fault::BadRelease | Fault::ReloadStorm)
}

/// Returns true if other workers serve all the time, so that some operation succeeds at any time.
pub(crate) fn has_others(fault: Fault) -> bool {
    match fault {
        Fault::Kill | Fault::Stop | Fault::NeverReady | Fault::BadRelease | Fault::SlowWorker | Fault::ReloadStorm => {
            true
        }
        Fault::FullDisk | Fault::Descriptors | Fault::MasterKill => false,
    }
}

/// Runs the fault, and adds its promises. Returns the allowed failures, which are known only afterwards.
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

/// Returns the connections that broke with their worker since the counter was `before`; `None` if the target does not
/// count them. A connection is counted when its relay has ended, which may take a moment: the counter is read until it
/// is the same twice.
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

/// Writes how many harmed workers were replaced, and how long that took.
fn replaced_words(replaced: u64, harmed: u64, slowest: Duration) -> String {
    match replaced {
        0 => format!("none of {harmed}"),
        _ => format!("{replaced} of {harmed}, the slowest after {:.2} s", slowest.as_secs_f64()),
    }
}

/// Returns true if the target resets connections that a dead worker had begun to answer. Where the kernel closes them,
/// an answer may look whole.
fn ends_show(manner: Manner) -> bool {
    // A relay can tell the end of a killed process from a normal end only since Linux 6.9.
    manner == Manner::Proxy && kernel_is_at_least((6, 9))
}

fn kernel_is_at_least(wanted: (u32, u32)) -> bool {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map_while(|number| number.parse().ok());
    let found = numbers.next().zip(numbers.next());
    found.is_some_and(|found: (u32, u32)| found >= wanted)
}
