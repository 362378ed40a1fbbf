//! The progress of a command as lines of JSON, written as it happens.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame};
use tokio::sync::mpsc;

use super::CommandUpdate;
use crate::admin::snapshot::unix_seconds;
use crate::api::state;
use crate::pool::message::Delivery;
use crate::pool::operation::{Ledger, OperationStep, Report};
use crate::printable;

/// The body of an answer; it ends when the command is over. Dropping it stops the lines, not the command.
pub(in crate::admin) struct Lines {
    first: Option<CommandUpdate>,
    rest: mpsc::UnboundedReceiver<CommandUpdate>,
}

impl Lines {
    /// `first` was received already; `rest` brings the following updates.
    pub(super) fn new(first: CommandUpdate, rest: mpsc::UnboundedReceiver<CommandUpdate>) -> Self {
        Self { first: Some(first), rest }
    }
}

impl Body for Lines {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let told = match self.first.take() {
            Some(first) => Poll::Ready(Some(first)),
            None => self.rest.poll_recv(context),
        };
        told.map(|told| told.map(|told| Ok(Frame::data(line(told)))))
    }
}

fn line(told: CommandUpdate) -> Bytes {
    let mut json = printable::json_of(&shown(told)).unwrap_or_default();
    json.push('\n');
    json.into()
}

/// Returns an update in the form that the client gets.
fn shown(told: CommandUpdate) -> state::OperationLine {
    let (pool, event) = match told {
        CommandUpdate::Step { pool, step, plan } => (Some(pool.to_string()), self::step(step, plan)),
        CommandUpdate::Report { pool, report } => (Some(pool.to_string()), state::Event::Report(self::report(&report))),
        CommandUpdate::Refused(refused) => {
            (refused.pool, state::Event::Refused { why: refused.why, hint: refused.hint })
        }
        CommandUpdate::Message { pool, deliveries } => (Some(pool.to_string()), message(deliveries)),
        CommandUpdate::Stopping => (None, state::Event::Stopping),
        CommandUpdate::Stopped(stopped) => {
            let took_seconds = stopped.took.as_secs_f64();
            let (finished, cut) = stopped.connections.unzip();
            (None, state::Event::Stopped { took_seconds, finished, cut })
        }
    };
    state::OperationLine { schema: state::OperationLine::SCHEMA.to_owned(), pool, event }
}

fn step(step: OperationStep, plan: super::PlannedChange) -> state::Event {
    match step {
        OperationStep::Began { verb, generation, next_generation, slots } => state::Event::Began {
            verb: verb.name().to_owned(),
            generation,
            next_generation,
            slots,
            at_once: plan.at_once,
            workers_before: plan.workers.map(|(before, _)| before),
            workers: plan.workers.map(|(_, after)| after),
            strategy_before: plan.strategy.map(|(before, _)| before.to_owned()),
            strategy: plan.strategy.map(|(_, after)| after.to_owned()),
        },
        OperationStep::Ready { slot, pid, instead_of, after } => {
            state::Event::Ready { slot, pid, instead_of, after_seconds: after.as_secs_f64() }
        }
        OperationStep::Ended { slot, pid, exit, took, finished, cut } => {
            state::Event::Ended { slot, pid, exit, took_seconds: took.as_secs_f64(), finished, cut }
        }
        OperationStep::Failed { slot, why, last_lines } => {
            state::Event::Failed { slot, why, last_lines: last_lines.to_vec() }
        }
    }
}

fn message(deliveries: Vec<Delivery>) -> state::Event {
    let told = deliveries.iter().filter(|delivery| delivery.result.is_ok()).count();
    let workers = deliveries.into_iter().map(|Delivery { slot, pid, result }| state::MessageTarget {
        slot,
        pid,
        told: result.is_ok(),
        why: result.err(),
    });
    state::Event::Message { told, workers: workers.collect() }
}

/// Returns a report in the form that the client gets.
pub(in crate::admin) fn report(report: &Report) -> state::OperationReport {
    let connections = report.ledger.map(|ledger @ Ledger { accepted, moved, rejected, ends, .. }| state::Connections {
        accepted,
        served: ends.map(|ends| ends.served),
        moved,
        client_ended: ends.map(|ends| ends.client_ended),
        unanswered: ends.map(|ends| ends.unanswered),
        closed: ends.map(|ends| ends.closed),
        rejected,
        cut: ledger.known_cut(),
    });
    state::OperationReport {
        verb: report.verb.name().to_owned(),
        result: report.outcome().name().to_owned(),
        error: report.result.clone().err(),
        generation: report.generation,
        took_seconds: report.took.as_secs_f64(),
        at: unix_seconds(report.at),
        connections,
    }
}
