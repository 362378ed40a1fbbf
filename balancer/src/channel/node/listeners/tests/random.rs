//! Whatever queries, binds and exits come in any order, keys and listeners agree.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

/// A random event in a pool; numbers choose the worker and the address.
#[derive(Clone, Debug)]
enum Step {
    Ask(u32, u64, i32),
    Bound(i32),
    NotBound(i32),
    Closed(u32, u64, i32),
    Left(u32, u64),
    Forget(i32),
}

fn step() -> impl Strategy<Value = Step> {
    let (slot, incarnation, key) = (0..3_u32, 0..3_u64, 2000..2004_i32);
    prop_oneof![
        10 => (slot.clone(), incarnation.clone(), key.clone()).prop_map(|(s, i, k)| Step::Ask(s, i, k)),
        6 => key.clone().prop_map(Step::Bound),
        1 => key.clone().prop_map(Step::NotBound),
        4 => (slot.clone(), incarnation.clone(), key.clone()).prop_map(|(s, i, k)| Step::Closed(s, i, k)),
        2 => (slot, incarnation).prop_map(|(s, i)| Step::Left(s, i)),
        2 => key.prop_map(Step::Forget),
    ]
}

proptest! {
    #[test]
    fn random_steps_keep_keys_and_listeners_equal(steps in vec(step(), 0..80), public: bool) {
        let mut registry = ListenerRegistry::new(Policy { public, ..OPEN });
        let all: Vec<_> = (0..3).flat_map(|slot| (0..3).map(move |incarnation| worker(slot, incarnation))).collect();
        let mut open = BTreeMap::new();
        for (i, step) in steps.iter().enumerate() {
            match *step {
                Step::Ask(slot, incarnation, number) => {
                    let query = Query { data: json!(i), ..port(number) };
                    let before = registry.listeners_of(worker(slot, incarnation)).len();
                    let decision = registry.ask(worker(slot, incarnation), &query);
                    let after = registry.listeners_of(worker(slot, incarnation)).len();
                    let joins = match &decision {
                        Decision::Mapped { .. } => public,
                        Decision::Join { listener_id, .. } => open.get(&query.key()) == Some(listener_id),
                        _ => false,
                    };
                    prop_assert_eq!(after, before + usize::from(joins), "{:?}", decision);
                    if matches!(decision, Decision::Bind { .. }) {
                        prop_assert!(!open.contains_key(&query.key()), "bound twice");
                    }
                }
                Step::Bound(number) => {
                    let key = port(number).key();
                    let is_asked = registry.own.get(&key).is_some_and(|own| own.open.is_none());
                    registry.bound(&key, u32::try_from(i).unwrap() + 1, None);
                    if is_asked {
                        open.insert(key, u32::try_from(i).unwrap() + 1);
                    }
                }
                Step::NotBound(number) => registry.not_bound(&port(number).key()),
                Step::Closed(slot, incarnation, number) => registry.closed(worker(slot, incarnation), &port(number).key()),
                Step::Left(slot, incarnation) => {
                    registry.left(worker(slot, incarnation));
                    prop_assert!(registry.listeners_of(worker(slot, incarnation)).is_empty());
                }
                Step::Forget(number) => {
                    let key = port(number).key();
                    if let Some(listener_id) = registry.forget(&key) {
                        prop_assert_eq!(open.remove(&key), Some(listener_id));
                    }
                }
            }
            let unwanted: Vec<u32> = registry.unwanted().into_iter().map(|(_, listener_id)| listener_id).collect();
            let mut wanted = BTreeSet::new();
            for worker in &all {
                let mine = registry.listeners_of(*worker);
                let keys: BTreeSet<_> = mine.iter().map(|listener_id| registry.key_of(*worker, *listener_id).unwrap()).collect();
                prop_assert_eq!(keys.len(), mine.len(), "two listeners by one key");
                wanted.extend(mine);
            }
            prop_assert!(unwanted.iter().all(|listener_id| *listener_id != PUBLIC && !wanted.contains(listener_id)));
            let private = wanted.iter().filter(|listener_id| **listener_id != PUBLIC);
            prop_assert_eq!(unwanted.len() + private.count(), open.len(), "each open listener is wanted or not");
            prop_assert!(registry.public.len() <= all.len());
        }
    }
}
