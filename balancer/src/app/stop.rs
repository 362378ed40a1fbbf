//! The end of a master, asked for or not.

use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use super::Running;
use super::signals::Signals;
use crate::dispatch::DataThreads;
use crate::failure::Failure;
use crate::os::child::signal_name;
use crate::supervisor::Order;

/// How long a forced stop waits for killed workers to be gone.
const FORCED: Duration = Duration::from_secs(5);

/// How it ended.
enum End {
    /// Every worker has ended.
    Stopped(Result<(), Failure>),
    /// A second signal came, with its number.
    Forced(i32),
}

/// Waits for a signal, or for a pool that gave up; then stops everything.
pub(super) async fn run_until_stopped(
    mut running: Vec<Running>,
    data: &DataThreads,
    mut signals: Signals,
    is_stopping: &AtomicBool,
) -> Result<ExitCode, Failure> {
    let gave_up = tokio::select! {
        signal = signals.stop() => {
            tracing::info!(signal = %named(signal), "stopping: finishing open connections (again to stop at once)");
            None
        }
        (index, result) = first_ended(&mut running) => {
            running.swap_remove(index);
            result.err()
        }
    };
    is_stopping.store(true, Ordering::SeqCst);
    let is_hopeless = gave_up.is_some();
    let end = tokio::select! {
        result = stop_all(&mut running, data, is_hopeless) => End::Stopped(result),
        signal = signals.stop() => End::Forced(signal),
    };
    match end {
        End::Stopped(result) => gave_up.map_or(result, Err).map(|()| ExitCode::SUCCESS),
        End::Forced(signal) => {
            tracing::warn!(signal = %named(signal), "stopping at once");
            data.cut_now();
            order_all(&running, Order::Kill);
            // What cannot be killed is the guardian's, and then the kernel's.
            let ended = tokio::time::timeout(FORCED, all_ended(&mut running)).await;
            ended.unwrap_or(Ok(()))?;
            Ok(ExitCode::from(u8::try_from(128 + signal).unwrap_or(u8::MAX)))
        }
    }
}

/// The first pool that ends by itself, which it only does by giving up.
async fn first_ended(running: &mut [Running]) -> (usize, Result<(), Failure>) {
    let ends = running
        .iter_mut()
        .enumerate()
        .map(|(index, one)| Box::pin(async move { (index, one.supervisor.ended().await) }));
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

async fn stop_all(running: &mut Vec<Running>, data: &DataThreads, is_hopeless: bool) -> Result<(), Failure> {
    order_all(running, Order::Close);
    let patience = running.iter().map(|one| one.pool.config().drain_timeout).max().unwrap_or_default();
    let patience = if is_hopeless { Duration::ZERO } else { patience };
    let drained = data.drain(Instant::now() + patience).await;
    if drained.cut > 0 {
        tracing::warn!(
            finished = drained.finished,
            closed = drained.closed,
            cut = drained.cut,
            "connections still owed something at the drain deadline were cut"
        );
    } else if !is_hopeless && running.iter().any(|one| one.pool.is_observed()) {
        tracing::info!(finished = drained.finished, closed = drained.closed, "all connections finished");
    }
    order_all(running, if is_hopeless { Order::Kill } else { Order::Stop });
    all_ended(running).await
}

fn order_all(running: &[Running], order: Order) {
    for one in running {
        one.supervisor.order(order);
    }
}

async fn all_ended(running: &mut Vec<Running>) -> Result<(), Failure> {
    let mut result = Ok(());
    while let Some(one) = running.last_mut() {
        let ended = one.supervisor.ended().await;
        running.pop();
        result = result.and(ended);
    }
    result
}

fn named(signal: i32) -> String {
    signal_name(signal).map_or_else(|| signal.to_string(), |name| format!("SIG{name}"))
}
