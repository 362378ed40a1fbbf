//! What a running master waits for: orders, signals, a pool that gave up.

use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::time::Instant;

use super::Running;
use super::desk::{Asking, Desk, Question, Saying};
use super::signals::{Asked, Signals};
use crate::admin::orders::{Demand, Ordered, Refused, Stopped, Told};
use crate::failure::Failure;

/// Where orders come in, and what is asked of the supervisors on their account.
pub(super) struct Inbox {
    pub(super) orders: mpsc::Receiver<Ordered>,
    pub(super) desk: Arc<Desk>,
    pub(super) asks: mpsc::UnboundedReceiver<Question>,
}

/// Who ordered the end, and waits for it.
#[derive(Debug)]
pub(super) struct Waiting {
    since: Instant,
    replies: Vec<mpsc::UnboundedSender<Told>>,
}

/// Why a master stops.
pub(super) enum End {
    /// A signal asked for it, by its number.
    Signal(i32),
    /// An order on the control socket, perhaps without waiting for open connections.
    Order { now: bool },
    /// This pool ended by itself, which it only does by giving up.
    GaveUp(usize, Result<(), Failure>),
}

impl Inbox {
    /// Carries out orders until the master is to stop.
    pub(super) async fn until_end(&mut self, running: &mut [Running], signals: &mut Signals) -> (End, Waiting) {
        let mut waiting = Waiting { since: Instant::now(), replies: Vec::new() };
        loop {
            let ordered = tokio::select! {
                asked = signals.next() => match asked {
                    Asked::Stop(signal) => return (End::Signal(signal), waiting),
                    Asked::Reload => {
                        self.desk.reload_by_signal();
                        continue;
                    }
                },
                (index, result) = super::stop::first_ended(running) => return (End::GaveUp(index, result), waiting),
                Some(question) = self.asks.recv() => {
                    pass_on(question, running);
                    continue;
                }
                Some(ordered) = self.orders.recv() => ordered,
            };
            // It may have waited here for long, as when the master stood still.
            if ordered.client.is_gone() {
                let verb = ordered.demand.name();
                tracing::warn!(verb, "control command dropped, its client went away before it began");
                continue;
            }
            if let Demand::Shutdown { now } = ordered.demand {
                signals.note_stop();
                waiting.since = Instant::now();
                waiting.join(ordered.reply);
                return (End::Order { now }, waiting);
            }
            self.desk.take(ordered);
        }
    }

    /// Refuses orders while the master stops; resolves when it is ordered to stop at once.
    pub(super) async fn until_forced(&mut self, waiting: &mut Waiting) {
        // What the desk was going to ask of a pool is not asked any more.
        self.asks.close();
        while self.asks.try_recv().is_ok() {}
        while let Some(Ordered { demand, reply, .. }) = self.orders.recv().await {
            match demand {
                Demand::Shutdown { now } => {
                    waiting.join(reply);
                    if now {
                        return;
                    }
                }
                _ => drop(reply.send(Told::Refused(Refused::stopping()))),
            }
        }
        std::future::pending().await
    }
}

fn pass_on(question: Question, running: &[Running]) {
    match question {
        Question::Operate(Asking { pool, ask, reply }) => {
            if let Some(one) = running.get(pool) {
                one.supervisor.operate(ask, reply);
            }
        }
        Question::Say(Saying { pool, message, reply }) => {
            if let Some(one) = running.get(pool) {
                one.supervisor.say(message, reply);
            }
        }
    }
}

impl Waiting {
    fn join(&mut self, reply: mpsc::UnboundedSender<Told>) {
        let _ = reply.send(Told::Stopping);
        self.replies.push(reply);
    }

    /// Tells all of them that it is over.
    pub(super) fn tell(self, connections: Option<(u64, u64)>) {
        let stopped = Stopped { took: self.since.elapsed(), connections };
        for reply in self.replies {
            let _ = reply.send(Told::Stopped(stopped));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::orders::CommandClient;

    fn inbox() -> (Inbox, mpsc::Sender<Ordered>) {
        let (orders_sender, orders) = mpsc::channel(8);
        let (desk, asks) = Desk::idle();
        (Inbox { orders, desk, asks }, orders_sender)
    }

    #[tokio::test]
    async fn a_stopping_master_refuses_orders_and_a_second_shutdown_waits_with_the_first() {
        let (mut inbox, orders) = inbox();
        let send = |demand| {
            let (reply, news) = mpsc::unbounded_channel();
            orders.try_send(Ordered { demand, client: CommandClient::default(), reply }).unwrap();
            news
        };
        let mut reload = send(Demand::Reload { pool: None });
        let mut patient = send(Demand::Shutdown { now: false });
        let mut hasty = send(Demand::Shutdown { now: true });
        let mut waiting = Waiting { since: Instant::now(), replies: Vec::new() };
        inbox.until_forced(&mut waiting).await;
        assert_eq!(reload.recv().await, Some(Told::Refused(Refused::stopping())));
        waiting.tell(Some((3, 1)));
        for news in [&mut patient, &mut hasty] {
            assert_eq!(news.recv().await, Some(Told::Stopping));
            let Some(Told::Stopped(stopped)) = news.recv().await else { panic!("not told") };
            assert_eq!(stopped.connections, Some((3, 1)));
            assert_eq!(news.recv().await, None);
        }
    }
}
