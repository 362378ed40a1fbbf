//! News of an order as lines of JSON, written as they happen.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame};
use tokio::sync::mpsc;

use super::Told;
use crate::admin::snapshot::unix_seconds;
use crate::admin::view;
use crate::pool::message::Delivery;
use crate::pool::operation::{Ledger, Report, Step};
use crate::printable;

/// The body of an answer: ends when the order is over. Dropping it stops nothing but the telling.
pub(in crate::admin) struct Lines {
    first: Option<Told>,
    rest: mpsc::UnboundedReceiver<Told>,
}

impl Lines {
    /// The first news, which is there, and what follows.
    pub(super) fn new(first: Told, rest: mpsc::UnboundedReceiver<Told>) -> Self {
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

fn line(told: Told) -> Bytes {
    let mut json = printable::json_of(&shown(told)).unwrap_or_default();
    json.push('\n');
    json.into()
}

/// As the client is shown it.
fn shown(told: Told) -> view::Line {
    let (pool, event) = match told {
        Told::Step { pool, step, plan } => (Some(pool.to_string()), self::step(step, plan)),
        Told::Report { pool, report } => (Some(pool.to_string()), view::Event::Report(self::report(&report))),
        Told::Refused(refused) => (refused.pool, view::Event::Refused { why: refused.why, hint: refused.hint }),
        Told::Message { pool, deliveries } => (Some(pool.to_string()), message(deliveries)),
        Told::Stopping => (None, view::Event::Stopping),
        Told::Stopped(stopped) => {
            let took_seconds = stopped.took.as_secs_f64();
            let (finished, cut) = stopped.connections.unzip();
            (None, view::Event::Stopped { took_seconds, finished, cut })
        }
    };
    view::Line { schema: view::Line::SCHEMA.to_owned(), pool, event }
}

fn step(step: Step, plan: super::Plan) -> view::Event {
    match step {
        Step::Began { verb, generation, slots } => view::Event::Began {
            verb: verb.name().to_owned(),
            generation,
            slots,
            at_once: plan.at_once,
            workers_before: plan.workers.map(|(before, _)| before),
            workers: plan.workers.map(|(_, after)| after),
            strategy_before: plan.strategy.map(|(before, _)| before.to_owned()),
            strategy: plan.strategy.map(|(_, after)| after.to_owned()),
        },
        Step::Ready { slot, pid, instead_of, after } => {
            view::Event::Ready { slot, pid, instead_of, after_seconds: after.as_secs_f64() }
        }
        Step::Ended { slot, pid, exit, took, finished, cut } => {
            view::Event::Ended { slot, pid, exit, took_seconds: took.as_secs_f64(), finished, cut }
        }
        Step::Failed { slot, why, last_lines } => view::Event::Failed { slot, why, last_lines: last_lines.to_vec() },
    }
}

fn message(deliveries: Vec<Delivery>) -> view::Event {
    let told = deliveries.iter().filter(|delivery| delivery.result.is_ok()).count();
    let workers = deliveries.into_iter().map(|Delivery { slot, pid, result }| view::Addressee {
        slot,
        pid,
        told: result.is_ok(),
        why: result.err(),
    });
    view::Event::Message { told, workers: workers.collect() }
}

/// A report as it is shown.
pub(in crate::admin) fn report(report: &Report) -> view::Report {
    let connections = report.ledger.map(|ledger @ Ledger { accepted, moved, refused, ends, .. }| view::Connections {
        accepted,
        served: ends.map(|ends| ends.served),
        moved,
        client_ended: ends.map(|ends| ends.client_ended),
        unanswered: ends.map(|ends| ends.unanswered),
        closed: ends.map(|ends| ends.closed),
        refused,
        cut: ledger.known_cut(),
    });
    view::Report {
        verb: report.verb.name().to_owned(),
        result: report.verdict().name().to_owned(),
        error: report.result.clone().err(),
        generation: report.generation,
        took_seconds: report.took.as_secs_f64(),
        at: unix_seconds(report.at),
        connections,
    }
}
