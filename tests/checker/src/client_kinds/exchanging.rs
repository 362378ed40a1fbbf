//! Clients whose operation is one request and its answer.

use std::sync::Arc;

use tokio::time::{Duration, Instant, timeout_at};

use super::{ClientKind, Shared, Success};
use crate::answer::Answer;
use crate::connection::Connection;
use crate::exchange::{Manner, Trace, exchange};
use crate::failure::End;
use crate::plan::Slow;
use crate::pool::Pool;
use crate::request::{self, Request};
use crate::schedule::Operation;

/// Makes a request on a connection of its own.
pub(super) async fn alone(shared: &Shared, operation: &Operation, trace: &mut Trace) -> Result<Success, End> {
    let plan = &shared.plan;
    let slow = (operation.kind == ClientKind::SlowReader).then_some(plan.slow);
    let deadline = Instant::now() + plan.timeout + slow.map_or(Duration::ZERO, own_pauses);
    let mut answer = request::answer(plan, operation);
    let manner = Manner { half_close: operation.kind == ClientKind::HalfClose, slow };
    let target = &plan.targets[operation.target];
    let all = async {
        let opened = Connection::open(target, slow.map(|slow| slow.piece)).await;
        let connection = opened.map_err(|error| End::from_io(&error))?;
        trace.stage.is_connected = true;
        exchange(&connection, Request::new(plan, operation), &mut answer, manner, trace).await
    };
    timeout_at(deadline, all).await.unwrap_or(Err(End::Deadline))?;
    // A slow reader takes its time itself, so its latency ends with the first byte.
    let at = if slow.is_some() { trace.first_byte } else { Some(Instant::now()) };
    Ok(success(at, &answer))
}

/// Makes a request on a kept connection of one of the pools (one pool for each target).
pub(super) async fn kept(
    shared: &Shared,
    pools: &[Arc<Pool>],
    operation: &Operation,
    trace: &mut Trace,
) -> Result<Success, End> {
    let plan = &shared.plan;
    let deadline = Instant::now() + plan.timeout;
    let mut lent = pools[operation.target].lend();
    let mut answer = request::answer(plan, operation);
    let all = async {
        let connection = match &mut lent.connection {
            Some(connection) => connection,
            none => {
                let opened = Connection::open(&plan.targets[operation.target], None).await;
                shared.recorder.change(|record| record.kept_mut().opened += u64::from(opened.is_ok()));
                none.insert(opened.map_err(|error| End::from_io(&error))?)
            }
        };
        trace.stage.is_connected = true;
        trace.stage.is_kept = connection.answers > 0;
        if lent.talks {
            return Err(End::Wrong("bytes without a request".to_owned()));
        }
        exchange(connection, Request::new(plan, operation), &mut answer, Manner::default(), trace).await?;
        connection.answers += 1;
        Ok(())
    };
    timeout_at(deadline, all).await.unwrap_or(Err(End::Deadline))?;
    let success = success(Some(Instant::now()), &answer);
    if answer.says_close() {
        shared.recorder.change(|record| record.kept_mut().said_close += 1);
    }
    let ignores = operation.kind == ClientKind::Stubborn;
    if answer.is_followed() && (ignores || !answer.says_close()) {
        lent.give_back();
    }
    Ok(success)
}

fn success(at: Option<Instant>, answer: &Answer) -> Success {
    Success { at, worker: answer.worker().map(str::to_owned) }
}

/// Returns the sum of the pauses that a slow reader makes by itself.
fn own_pauses(slow: Slow) -> Duration {
    let pieces = slow.bytes / slow.piece.max(1) as u64 + 1;
    slow.pause.saturating_mul(u32::try_from(pieces).unwrap_or(u32::MAX))
}
