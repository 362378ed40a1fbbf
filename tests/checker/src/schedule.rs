//! The start and the kind of each operation. Pure: the same plan makes the same schedule.

use std::time::Duration;

use fastrand::Rng;

use crate::client_kinds::ClientKind;
use crate::content::Token;
use crate::plan::{Length, Plan};

/// One operation of the schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Operation {
    pub(crate) token: Token,
    /// The start of the operation, from the start of the load. Its latency counts from here.
    pub(crate) at: Duration,
    pub(crate) kind: ClientKind,
    /// The index of the operation's target.
    pub(crate) target: usize,
    /// The size of the operation's content.
    pub(crate) bytes: u64,
}

/// All operations of a plan, in the order of their start.
///
/// Kinds are dealt like cards: a deck that has each kind as often as its weight is shuffled and dealt, then the next
/// one. So the shares of the kinds are exact from early on, and their order has no pattern that a server's round robin
/// might share.
#[derive(Clone, Debug)]
pub(crate) struct Schedule<'a> {
    plan: &'a Plan,
    next: u64,
    deck: Vec<ClientKind>,
    random: Rng,
}

impl<'a> Schedule<'a> {
    pub(crate) fn new(plan: &'a Plan) -> Self {
        Self { plan, next: 0, deck: Vec::new(), random: Rng::with_seed(plan.seed) }
    }

    fn kind(&mut self) -> ClientKind {
        if self.deck.is_empty() {
            self.deck.extend(self.plan.kinds.cards());
            self.random.shuffle(&mut self.deck);
        }
        self.deck.pop().unwrap_or(ClientKind::OneShot)
    }
}

impl Iterator for Schedule<'_> {
    type Item = Operation;

    fn next(&mut self) -> Option<Operation> {
        let plan = self.plan;
        let number = self.next;
        let at = Duration::from_secs_f64(number as f64 / plan.rate);
        let is_over = match plan.length {
            Length::For(duration) => at >= duration,
            Length::Count(count) => number >= count,
            Length::UntilStopped => false,
        };
        if is_over {
            return None;
        }
        self.next += 1;
        let kind = self.kind();
        let bytes = match kind {
            ClientKind::Upload => self.random.u64(plan.upload.clone()),
            ClientKind::SlowReader => plan.slow.bytes,
            ClientKind::OneShot
            | ClientKind::KeepAlive
            | ClientKind::Stubborn
            | ClientKind::HalfClose
            | ClientKind::WebSocket => plan.bytes,
        };
        let target = usize::try_from(number % plan.targets.len() as u64).unwrap_or(0);
        Some(Operation { token: Token::new(plan.run(), number), at, kind, target, bytes })
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;

    fn plan() -> Plan {
        let kinds = "one-shot=8,keep-alive=2,upload=1".parse().unwrap();
        Plan { kinds, seed: 7, rate: 250.0, ..Plan::new(SocketAddr::from(([127, 0, 0, 1], 80))) }
    }

    #[test]
    fn operations_start_at_the_rate() {
        let plan = Plan { length: Length::For(Duration::from_secs(4)), ..plan() };
        let all: Vec<_> = Schedule::new(&plan).collect();
        assert_eq!(all.len(), 1000);
        assert_eq!(all[500].at, Duration::from_secs(2));
        assert!(all.iter().enumerate().all(|(index, operation)| operation.token.number() == index as u64));
    }

    #[test]
    fn kinds_have_exact_shares_in_an_order_set_by_the_seed() {
        let plan = Plan { length: Length::Count(110), ..plan() };
        let all: Vec<_> = Schedule::new(&plan).collect();
        for deck in all.chunks(11) {
            let count = |kind| deck.iter().filter(|operation| operation.kind == kind).count();
            assert_eq!(
                [count(ClientKind::OneShot), count(ClientKind::KeepAlive), count(ClientKind::Upload)],
                [8, 2, 1]
            );
        }
        assert!(all[..11].iter().zip(&all[11..]).any(|(a, b)| a.kind != b.kind), "always the same order");
        assert_eq!(all, Schedule::new(&plan).collect::<Vec<_>>());
        let other: Vec<_> = Schedule::new(&Plan { seed: 8, ..plan.clone() }).collect();
        assert_ne!(all.iter().map(|o| o.kind).collect::<Vec<_>>(), other.iter().map(|o| o.kind).collect::<Vec<_>>());
    }

    #[test]
    fn uploads_have_planned_sizes_and_targets_come_in_turn() {
        let mut plan = Plan { length: Length::Count(300), upload: 100..=200, ..plan() };
        plan.targets = vec![plan.targets[0].clone(); 3];
        let all: Vec<_> = Schedule::new(&plan).collect();
        let uploads: Vec<_> = all.iter().filter(|o| o.kind == ClientKind::Upload).map(|o| o.bytes).collect();
        assert!(uploads.iter().all(|bytes| (100..=200).contains(bytes)));
        assert!(uploads.iter().any(|bytes| *bytes != uploads[0]));
        assert!(all.iter().enumerate().all(|(index, o)| o.target == index % 3));
    }
}
