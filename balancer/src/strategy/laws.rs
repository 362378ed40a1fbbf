//! Laws that every strategy keeps. A new strategy is tested as soon as it is in the list; only its bound must be added
//! here.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use proptest::prelude::*;

use super::{ALL, Entry, PickContext, Picker, find};
use crate::rotation::{Endpoint, Lease, Rotation, SlotId, Snapshot, Standing, UNIT_WEIGHT, Upstream};

/// Makes a snapshot of `n` workers in rotation that all weigh 1.
pub(in crate::strategy) fn pool(n: usize) -> Snapshot {
    weighted(&vec![1; n])
}

/// Makes a snapshot of workers in rotation with these weights.
pub(in crate::strategy) fn weighted(weights: &[u32]) -> Snapshot {
    let upstream = |(slot, weight): (u32, &u32)| {
        let upstream = Upstream::new(SlotId(slot), 1, Endpoint::Unix("/nowhere".into()), Arc::default());
        upstream.set_weight(weight * UNIT_WEIGHT);
        upstream.set_standing(Standing::Up);
        Arc::new(upstream)
    };
    Snapshot::new((0..).zip(weights).map(upstream).collect())
}

fn client(n: u32) -> PickContext<'static> {
    PickContext { client: Some(IpAddr::V4(Ipv4Addr::from_bits(0x0A00_0000 + n))), ..Default::default() }
}

/// Returns the greatest allowed distance of a worker from its share of `total` connections. Each connection is from
/// another client, and all are still open.
fn bound(entry: &Entry, share: f64) -> f64 {
    match entry.name {
        "round-robin" | "least-waiting" | "least-connections" => 1.0,
        "p2c" => 4.0,
        // Five standard deviations.
        "random" | "source-hash" => 5.0 * share.sqrt(),
        other => panic!("{other}: say its bound"),
    }
}

#[test]
fn every_strategy_keeps_to_the_pool() {
    assert!(!ALL.is_empty());
    for entry in ALL {
        let strategy = (entry.build)(7);
        for context in [PickContext::default(), client(1)] {
            assert_eq!(strategy.pick(&pool(0), &context), None, "{}", entry.name);
            assert_eq!(strategy.pick(&pool(1), &context), Some(0), "{}", entry.name);
            assert!(strategy.pick(&pool(1024), &context).is_some_and(|i| i < 1024), "{}", entry.name);
        }
    }
}

#[test]
fn names_are_unique_and_found_and_the_default_is_first() {
    for (i, entry) in ALL.iter().enumerate() {
        assert_eq!(ALL.iter().position(|other| other.name == entry.name), Some(i));
        assert!(find(entry.name).is_some());
        assert!(!entry.summary.is_empty() && entry.summary.len() <= 76, "{}", entry.summary);
    }
    assert!(find("roundrobin").is_none());
    assert_eq!(ALL[0].name, crate::config::PoolConfig::new("a", crate::config::Program::Demo).strategy);
}

#[test]
fn every_strategy_is_fair_within_its_bound_by_weight() {
    for entry in ALL {
        for weights in [&[1, 1, 1, 1][..], &[2, 1, 1], &[1, 3, 2]] {
            let (strategy, pool) = ((entry.build)(7), weighted(weights));
            let total = 2400_u32;
            let held: Vec<Lease> = (0..total)
                .map(|n| {
                    let i = strategy.pick(&pool, &client(n)).unwrap();
                    let mut lease = Lease::take(&pool.upstreams[i]).unwrap();
                    lease.connected();
                    lease.set_waiting(true);
                    lease
                })
                .collect();
            for (upstream, weight) in pool.upstreams.iter().zip(weights) {
                let share = f64::from(total) * f64::from(*weight) / f64::from(weights.iter().sum::<u32>());
                let off = (upstream.active() as f64 - share).abs();
                assert!(off <= bound(entry, share), "{}: {off} off {share} with {weights:?}", entry.name);
            }
            drop(held);
            assert!(pool.upstreams.iter().all(|upstream| upstream.active() + upstream.waiting() == 0));
        }
    }
}

#[test]
fn with_the_same_seed_every_strategy_makes_the_same_choices() {
    for entry in ALL {
        let pool = weighted(&[1, 2, 1, 1]);
        let choices = |seed| {
            let strategy = (entry.build)(seed);
            (0..100).map(|n| strategy.pick(&pool, &client(n / 2)).unwrap()).collect::<Vec<_>>()
        };
        assert_eq!(choices(7), choices(7), "{}", entry.name);
        // Only random draws make the choices differ from one master to the next.
        let draws_lots = matches!(entry.name, "p2c" | "random");
        assert_eq!(choices(7) != choices(8), draws_lots, "{}", entry.name);
    }
}

/// An event in a pool.
#[derive(Clone, Debug)]
enum Event {
    Pick { client: Option<u32>, tried: Vec<u32> },
    Answer(prop::sample::Index),
    End(prop::sample::Index),
    Stand(prop::sample::Index, bool),
    Weigh(prop::sample::Index, u32),
    Publish(Vec<bool>),
    Switch(prop::sample::Index),
}

fn event(slots: usize) -> impl Strategy<Value = Event> {
    let index = any::<prop::sample::Index>;
    let number = u32::try_from(slots).unwrap();
    prop_oneof![
        8 => (prop::option::of(0..50_u32), prop::collection::vec(0..number, 0..3))
            .prop_map(|(client, tried)| Event::Pick { client, tried }),
        3 => index().prop_map(Event::Answer),
        3 => index().prop_map(Event::End),
        1 => (index(), any::<bool>()).prop_map(|(i, up)| Event::Stand(i, up)),
        1 => (index(), 1..=1000_u32).prop_map(|(i, weight)| Event::Weigh(i, weight)),
        1 => prop::collection::vec(any::<bool>(), slots).prop_map(Event::Publish),
        1 => index().prop_map(Event::Switch),
    ]
}

proptest! {
    /// For any sequence of events: a pick is always a worker in rotation that was not tried; if there is one, a pick
    /// succeeds; and at the end every count is 0.
    #[test]
    fn any_events_keep_picks_in_rotation_and_end_with_zero_counts(
        first: prop::sample::Index,
        (workers, events) in (1..=6_usize).prop_flat_map(|n| (Just(n), prop::collection::vec(event(n), 1..80))),
    ) {
        let all = pool(workers).upstreams;
        let rotation = Rotation::default();
        rotation.publish(Snapshot::new(all.clone()));
        let picker = Picker::new(&ALL[first.index(ALL.len())]);
        let mut held: Vec<Lease> = Vec::new();
        for event in events {
            match event {
                Event::Pick { client, tried } => {
                    let tried: Vec<SlotId> = tried.into_iter().map(SlotId).collect();
                    let client = client.map(|n| IpAddr::V4(Ipv4Addr::from_bits(n)));
                    let lease = picker.pick(&rotation, &PickContext { client, key: None, tried: &tried });
                    let is_open = |u: &&Arc<Upstream>| u.standing() == Standing::Up && !tried.contains(&u.slot);
                    let has_open = rotation.snapshot().upstreams.iter().any(|u| is_open(&u));
                    prop_assert_eq!(lease.is_some(), has_open, "{}", picker.strategy().name);
                    if let Some(mut lease) = lease {
                        prop_assert!(!tried.contains(&lease.upstream().slot));
                        prop_assert!(rotation.snapshot().upstreams.iter().any(|u| Arc::ptr_eq(u, lease.upstream())));
                        lease.connected();
                        lease.set_waiting(true);
                        held.push(lease);
                    }
                }
                Event::Answer(i) if !held.is_empty() => {
                    let i = i.index(held.len());
                    held[i].set_waiting(false);
                }
                Event::End(i) if !held.is_empty() => drop(held.swap_remove(i.index(held.len()))),
                Event::Answer(_) | Event::End(_) => {}
                Event::Stand(i, up) => {
                    all[i.index(workers)].set_standing(if up { Standing::Up } else { Standing::Down });
                }
                // A weight may change before the next snapshot is published. A pick in between must work too.
                Event::Weigh(i, weight) => all[i.index(workers)].set_weight(weight * UNIT_WEIGHT),
                Event::Publish(are_in) => {
                    let chosen = all.iter().zip(are_in).filter(|(_, is_in)| *is_in).map(|(upstream, _)| Arc::clone(upstream));
                    rotation.publish(Snapshot::new(chosen.collect()));
                }
                Event::Switch(i) => picker.switch(&ALL[i.index(ALL.len())]),
            }
        }
        drop(held);
        for upstream in &all {
            prop_assert_eq!((upstream.active(), upstream.connecting(), upstream.waiting()), (0, 0, 0));
        }
    }
}
