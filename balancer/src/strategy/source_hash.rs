//! Source hash: clients with the same address go to the same worker, while it is in rotation (sticky sessions).
//!
//! Rendezvous hashing: a hash of the client's address and a slot gives the slot's score, and the worker with the
//! greatest score gets the client. A worker that leaves does not change the scores of the others. So only its own
//! clients move, evenly to all of the others, and they return when its slot has a worker again.
//!
//! - Bound: a client never changes workers while its own is in rotation, even a busy one. The evenness depends on the
//!   clients: many addresses spread as random draws would, and a few do not. All clients behind one proxy or NAT have
//!   one address.
//! - Cost: a hash of every worker for each connection, and a logarithm where weights differ.
//! - Use it where workers keep data of a client (a cache, a session) that other workers would have to fetch. A worker
//!   that dies takes its memory with it. And an address is not a person.
//! - The hash of an address is the same in every master on every machine, and in later versions: a restart moves no
//!   client.
//! - Weights: a worker gets a share of the addresses in proportion to its weight. A change of one weight moves clients
//!   only to or from that worker. So with `slow-start` a new worker's clients come to it little by little.
//! - A client on a unix socket has no address. Such clients are given to the workers in turn.
//! - Source: Thaler and Ravishankar, "A Name-Based Mapping Scheme for Rendezvous" (1996); weights: Schindelhauer and
//!   Schomaker (2005).

use std::net::IpAddr;

use super::chance::mix;
use super::turns::Turns;
use super::{Entry, PickContext, Strategy};
use crate::rotation::{SlotId, Snapshot};

pub(super) const ENTRY: Entry = Entry {
    name: "source-hash",
    summary: "the same client address to the same worker",
    is_sticky: true,
    build: |_| Box::new(SourceHash::default()),
};

#[derive(Default)]
struct SourceHash {
    turns: Turns,
}

impl Strategy for SourceHash {
    fn pick(&self, among: &Snapshot, context: &PickContext<'_>) -> Option<usize> {
        let Some(key) = context.key.or_else(|| context.client.map(number)) else {
            return self.turns.next(among, context);
        };
        let each = among.upstreams.iter().enumerate();
        if !among.is_weighted() {
            return each.max_by_key(|(_, upstream)| score(key, upstream.slot)).map(|(i, _)| i);
        }
        let times = each.map(|(i, upstream)| (i, time(key, upstream.slot, upstream.weight())));
        times.min_by(|(_, one), (_, two)| one.total_cmp(two)).map(|(i, _)| i)
    }

    fn home(&self, among: &Snapshot, context: &PickContext<'_>) -> Option<SlotId> {
        let key = context.key.or_else(|| context.client.map(number))?;
        let present = among.upstreams.iter().map(|upstream| (upstream.slot, upstream.weight()));
        let all = || present.clone().chain(among.absent().iter().copied());
        let heaviest = all().map(|(_, weight)| weight).max()?;
        if all().all(|(_, weight)| weight == heaviest) {
            return all().max_by_key(|(slot, _)| score(key, *slot)).map(|(slot, _)| slot);
        }
        let times = all().map(|(slot, weight)| (slot, time(key, slot, weight)));
        times.min_by(|(_, one), (_, two)| one.total_cmp(two)).map(|(slot, _)| slot)
    }
}

/// Returns a worker's time in a race, which the least time wins. Where weights are equal, the least time belongs to the
/// greatest score.
fn time(key: u64, slot: SlotId, weight: u32) -> f64 {
    -unit(score(key, slot)).ln() / f64::from(weight)
}

/// Returns the hash of an address. An IPv4 address has the same hash in its IPv6 form.
fn number(client: IpAddr) -> u64 {
    match client.to_canonical() {
        IpAddr::V4(ip) => mix(u64::from(ip.to_bits())),
        IpAddr::V6(ip) => {
            let bits = ip.to_bits().to_be_bytes();
            let [a, b, c, d, e, f, g, h, low @ ..] = bits;
            mix(mix(u64::from_be_bytes([a, b, c, d, e, f, g, h])) ^ u64::from_be_bytes(low))
        }
    }
}

fn score(key: u64, slot: SlotId) -> u64 {
    mix(key ^ mix(!u64::from(slot.0)))
}

/// Returns the score as a number above 0 and up to 1.
fn unit(score: u64) -> f64 {
    // A double holds 53 bits exactly.
    ((score >> 11) + 1) as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use proptest::prelude::{prop, prop_assert, prop_assert_eq, proptest};

    use super::*;
    use crate::strategy::laws::{pool, weighted};

    fn client(ip: impl Into<IpAddr>) -> PickContext<'static> {
        PickContext { client: Some(ip.into()), ..Default::default() }
    }

    fn without(pool: &Snapshot, i: usize) -> Snapshot {
        let mut rest = pool.upstreams.clone();
        rest.remove(i);
        Snapshot::new(rest)
    }

    fn slot(strategy: &dyn Strategy, pool: &Snapshot, ip: u32) -> u32 {
        pool.upstreams[strategy.pick(pool, &client(Ipv4Addr::from_bits(ip))).unwrap()].slot.0
    }

    #[test]
    fn same_address_goes_to_same_slot_in_every_version() {
        let (strategy, pool) = (SourceHash::default(), pool(5));
        let slots = |text: &str| {
            let ip: IpAddr = text.parse().unwrap();
            strategy.pick(&pool, &client(ip)).unwrap()
        };
        let fixed = ["127.0.0.1", "127.0.0.2", "127.0.0.3", "10.1.2.3", "192.0.2.77", "::1", "2001:db8::7"].map(slots);
        assert_eq!(fixed, [0, 1, 2, 4, 2, 0, 0]);
        assert_eq!(slots("::ffff:10.1.2.3"), slots("10.1.2.3"));
    }

    #[test]
    fn client_without_an_address_is_given_out_in_turn() {
        let (strategy, pool) = (SourceHash::default(), pool(3));
        let picks = [(); 6].map(|()| strategy.pick(&pool, &PickContext::default()).unwrap());
        assert_eq!(picks, [0, 1, 2, 0, 1, 2]);
        let keyed = PickContext { key: Some(7), ..Default::default() };
        assert_eq!(strategy.pick(&pool, &keyed), strategy.pick(&pool, &keyed));
    }

    #[test]
    fn leaving_worker_moves_only_its_clients_to_all_others() {
        let (strategy, all) = (SourceHash::default(), pool(5));
        let rest = without(&all, 2);
        let mut moved = [0; 5];
        for ip in 0..5000 {
            let (before, after) = (slot(&strategy, &all, ip), slot(&strategy, &rest, ip));
            if before == 2 {
                moved[after as usize] += 1;
            } else {
                assert_eq!(before, after);
            }
        }
        assert!([0, 1, 3, 4].iter().all(|&i| (200..300).contains(&moved[i])), "{moved:?}");
    }

    #[test]
    fn home_is_the_pick_and_stays_when_another_leaves() {
        for all in [pool(5), weighted(&[1, 2, 5, 1, 3])] {
            let strategy = SourceHash::default();
            let gone = (all.upstreams[2].slot, all.upstreams[2].weight());
            let rest = Snapshot::with_absent(without(&all, 2).upstreams, vec![gone]);
            for ip in 0..500 {
                let context = client(Ipv4Addr::from_bits(ip));
                let home = strategy.home(&all, &context).unwrap();
                assert_eq!(home.0, slot(&strategy, &all, ip));
                assert_eq!(strategy.home(&rest, &context), Some(home));
                let is_moved = slot(&strategy, &rest, ip) != home.0;
                assert_eq!(is_moved, home == gone.0);
            }
            assert_eq!(strategy.home(&all, &PickContext::default()), None);
        }
    }

    #[test]
    fn addresses_are_shared_out_by_weight() {
        let (strategy, all) = (SourceHash::default(), weighted(&[1, 2, 5]));
        let mut counts = [0_i32; 3];
        (0..8000).for_each(|ip| counts[slot(&strategy, &all, ip) as usize] += 1);
        assert!(counts.iter().zip([1000, 2000, 5000]).all(|(n, fair)| (n - fair).abs() < 250), "{counts:?}");
    }

    proptest! {
        #[test]
        fn changed_weight_moves_clients_only_to_or_from_its_worker(
            weights in prop::collection::vec(1_u32..=5, 2..=6), which: prop::sample::Index, new in 1_u32..=5, ip: u32,
        ) {
            let which = which.index(weights.len());
            let mut changed = weights.clone();
            changed[which] = new;
            let strategy = SourceHash::default();
            let (before, after) = (slot(&strategy, &weighted(&weights), ip), slot(&strategy, &weighted(&changed), ip));
            let to_or_from = if new > weights[which] { after } else { before };
            prop_assert!(before == after || to_or_from as usize == which);
        }

        #[test]
        fn equal_weights_pick_as_no_weights_do(weight in 2_u32..=9, ip: u32) {
            let strategy = SourceHash::default();
            let even = slot(&strategy, &pool(4), ip);
            prop_assert_eq!(slot(&strategy, &weighted(&[weight; 4]), ip), even);
            // Nearly equal weights move almost no client: the two ways of computing agree.
            let race = |slot: u32| -unit(score(number(Ipv4Addr::from_bits(ip).into()), SlotId(slot))).ln();
            let first = (0..4).min_by(|a, b| race(*a).total_cmp(&race(*b))).unwrap();
            prop_assert_eq!(first, even);
        }
    }
}
