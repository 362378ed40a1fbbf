//! The end of a master, whether it was asked for or not.

use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use super::Running;
use super::controller::report;
use super::inputs::{Inputs, StopCause};
use super::signals::Signals;
use crate::dispatch::{DataThreads, Drained};
use crate::failure::Failure;
use crate::os::child::signal_name;
use crate::supervisor::{Shutdown, StopReport};

/// The time that a forced stop waits for cut connections to be counted, before the workers are killed.
const COUNTED: Duration = Duration::from_secs(1);
/// The time that a forced stop waits for killed workers to be gone.
const FORCED: Duration = Duration::from_secs(5);

/// The time in which workers may close their idle connections themselves, since they can tell their clients so.
const POLITE: Duration = Duration::from_secs(2);

/// The result of a stop.
enum StopResult {
    /// Every worker has ended.
    Stopped(Result<(), Failure>, Drained),
    /// A second request came: it does not wait for open connections any longer.
    Forced(ForcedBy),
}

/// The source of a request to stop at once.
#[derive(Clone, Copy)]
enum ForcedBy {
    /// A process sent this signal after a first request.
    Signal(i32),
    /// A command asked for it.
    Command,
}

impl ForcedBy {
    /// Returns the exit code of such a stop: after a signal the number that shells use; after a command 0, since a
    /// service manager would treat any other code as a failure and start the master again.
    fn code(self) -> u8 {
        match self {
            ForcedBy::Signal(signal) => u8::try_from(128 + signal).unwrap_or(u8::MAX),
            ForcedBy::Command => 0,
        }
    }
}

/// Carries out commands until a signal or a command ends the master, or a pool gives up; then stops everything.
pub(super) async fn run_until_stopped(
    mut running: Vec<Running>,
    data: &DataThreads,
    mut signals: Signals,
    mut inputs: Inputs,
    is_stopping: &AtomicBool,
) -> Result<ExitCode, Failure> {
    let (end, mut waiting) = inputs.until_end(&mut running, &mut signals).await;
    is_stopping.store(true, Ordering::SeqCst);
    let (mut gave_up, mut is_at_once) = (None, false);
    match end {
        StopCause::Signal(signal) => {
            tracing::info!(signal = %named(signal), "stopping: finishing open connections (again to stop at once)");
        }
        StopCause::Command { now: false } => tracing::info!("stopping by command: finishing open connections"),
        StopCause::Command { now: true } => is_at_once = true,
        StopCause::GaveUp(index, result) => {
            running.swap_remove(index);
            gave_up = result.err();
        }
    }
    let is_hopeless = gave_up.is_some();
    let before = data.ends();
    let is_observed = running.iter().any(|one| one.pool.sees_ends());
    let result = tokio::select! {
        biased;
        () = std::future::ready(()), if is_at_once => StopResult::Forced(ForcedBy::Command),
        (result, drained) = stop_all(&mut running, data, is_hopeless) => StopResult::Stopped(result, drained),
        signal = signals.stop() => StopResult::Forced(ForcedBy::Signal(signal)),
        () = inputs.until_forced(&mut waiting) => StopResult::Forced(ForcedBy::Command),
    };
    match result {
        StopResult::Stopped(result, drained) => {
            waiting.tell(is_observed.then_some((drained.finished, drained.cut)));
            gave_up.map_or(result, Err).map(|()| ExitCode::SUCCESS)
        }
        StopResult::Forced(forced_by) => {
            match forced_by {
                ForcedBy::Signal(signal) => tracing::warn!(signal = %named(signal), "stopping at once"),
                ForcedBy::Command => tracing::warn!("stopping at once, by command"),
            }
            // Waits before the workers are killed: connections that break together with them would not be counted as
            // cut.
            let _ = tokio::time::timeout(COUNTED, data.drain(Instant::now())).await;
            shut_down_all(&running, Shutdown::Kill);
            // A process that cannot be killed now is left to the guardian, and then to the kernel.
            let ended = tokio::time::timeout(FORCED, all_ended(&mut running)).await;
            let drained = data.ends().since(before);
            waiting.tell(is_observed.then_some((drained.finished, drained.cut)));
            ended.map_or(Ok(()), |(_, result)| result)?;
            Ok(ExitCode::from(forced_by.code()))
        }
    }
}

/// Returns the first pool that ends by itself, which it only does when it gives up.
pub(super) async fn first_ended(running: &mut [Running]) -> (usize, Result<(), Failure>) {
    let ends = running
        .iter_mut()
        .enumerate()
        .map(|(index, one)| Box::pin(async move { (index, one.task.ended().await.map(drop)) }));
    first(ends.collect()).await
}

/// Resolves with the first of many futures.
async fn first<F: Future + Unpin>(mut futures: Vec<F>) -> F::Output {
    std::future::poll_fn(|context| {
        let ready =
            futures.iter_mut().map(|future| std::pin::Pin::new(future).poll(context)).find(|poll| poll.is_ready());
        ready.unwrap_or(std::task::Poll::Pending)
    })
    .await
}

async fn stop_all(running: &mut Vec<Running>, data: &DataThreads, is_hopeless: bool) -> (Result<(), Failure>, Drained) {
    let before = data.ends();
    shut_down_all(running, Shutdown::Close);
    let patience = running.iter().map(|one| one.pool.config().drain_timeout).max().unwrap_or_default();
    let patience = if is_hopeless { Duration::ZERO } else { patience };
    let deadline = Instant::now() + patience;
    // Waiting clients are still given to workers. Then the workers are drained and told to end, as at a reload.
    data.closed(deadline.min(Instant::now() + POLITE)).await;
    if !data.is_closed() {
        // Idle connections may hold the permits that clients in the queues wait for.
        data.close_all_idle();
        data.closed(deadline).await;
    }
    shut_down_all(running, if is_hopeless { Shutdown::Kill } else { Shutdown::Stop });
    let (ended, result) = {
        let mut all = std::pin::pin!(all_ended(running));
        match tokio::time::timeout(POLITE, &mut all).await {
            Ok(ended) => ended,
            Err(_) => {
                // By now the workers have told their clients to leave. Clients that are still idle are not waited for.
                data.close_all_idle();
                all.await
            }
        }
    };
    // Data that a client reads slowly is still delivered after its worker has ended.
    data.drain(deadline).await;
    let drained = data.ends().since(before);
    for one in &ended {
        let report = one.report();
        one.pool().count_report(&report);
        report::log(&one.pool().name, &report);
    }
    if drained.cut > 0 {
        tracing::warn!(
            finished = drained.finished,
            closed = drained.closed,
            cut = drained.cut,
            "drain deadline: connections with a pending response were cut"
        );
    } else if !is_hopeless && running.iter().any(|one| one.pool.sees_ends()) {
        tracing::info!(finished = drained.finished, closed = drained.closed, "all connections finished");
    }
    (result, drained)
}

fn shut_down_all(running: &[Running], shutdown: Shutdown) {
    for one in running {
        one.supervisor.shut_down(shutdown);
    }
}

async fn all_ended(running: &mut Vec<Running>) -> (Vec<StopReport>, Result<(), Failure>) {
    let (mut all, mut result) = (Vec::new(), Ok(()));
    while let Some(one) = running.last_mut() {
        let ended = one.task.ended().await;
        running.pop();
        match ended {
            Ok(ended) => all.push(ended),
            Err(failure) => result = result.and(Err(failure)),
        }
    }
    (all, result)
}

fn named(signal: i32) -> String {
    signal_name(signal).map_or_else(|| signal.to_string(), |name| format!("SIG{name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stop_by_command_exits_0_and_by_second_signal_does_not() {
        assert_eq!(ForcedBy::Command.code(), 0);
        assert_eq!([libc::SIGINT, libc::SIGTERM].map(|signal| ForcedBy::Signal(signal).code()), [130, 143]);
    }
}
