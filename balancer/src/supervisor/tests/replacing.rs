//! Replacements for a reason of the worker's own, and how many may be out of rotation on suspicion.

use std::collections::HashMap;

use super::*;
use crate::os::inspect::Usage;
use crate::stats::{Check, Restart as Cause};
use crate::supervisor::worker::probe::CheckResult;

const BOUND: u64 = 100 << 20;

/// Says that the workers of these slots use that much memory.
fn use_memory(test: &TestPool, slots: &[usize], resident_bytes: u64) {
    let usage = |slot: &usize| (test.launcher.pid(*slot), Usage { processes: 1, resident_bytes, ..Usage::default() });
    test.send_input(Input::Usage(slots.iter().map(usage).collect(), HashMap::new()));
}

fn replaced(test: &TestPool, slot: usize, cause: Cause) -> u64 {
    test.pool.slots()[slot].restarts[cause as usize].get()
}

#[tokio::test(start_paused = true)]
async fn worker_over_its_memory_bound_is_replaced_new_first() {
    let test = TestPool::ready(PoolConfig { max_memory: Some(BOUND), ..config() }, 2).await;
    test.launcher.take_most_alive();
    use_memory(&test, &[1], BOUND);
    test.stays("a worker at its bound stays", Duration::from_secs(2), |test| test.launcher.started().len() == 2).await;
    use_memory(&test, &[1], BOUND + 1);
    test.until("slot 1 serves with its second process", |_| test.rotation() == [(0, 1), (1, 2)]).await;
    assert_eq!((test.launcher.take_most_alive(), replaced(&test, 1, Cause::Memory)), (3, 1));
}

#[tokio::test(start_paused = true)]
async fn big_workers_are_replaced_one_after_the_other() {
    let test = TestPool::ready(PoolConfig { max_memory: Some(BOUND), ..config() }, 3).await;
    test.launcher.take_most_alive();
    use_memory(&test, &[0, 1, 2], BOUND * 2);
    test.until("one is replaced", |_| test.rotation().iter().filter(|(_, incarnation)| *incarnation == 2).count() == 1)
        .await;
    assert_eq!((test.launcher.take_most_alive(), test.launcher.started().len()), (4, 4));
    for slot in [1, 2] {
        let is_replaced = |_: &PoolStatus| {
            use_memory(&test, &[slot], BOUND * 2);
            test.rotation()[slot].1 == 2
        };
        test.until("the next is replaced", is_replaced).await;
    }
    assert_eq!(test.launcher.take_most_alive(), 4);
}

#[tokio::test(start_paused = true)]
async fn big_worker_is_not_replaced_during_an_operation() {
    let test = TestPool::ready(PoolConfig { max_memory: Some(BOUND), max_surge: 4, ..config() }, 2).await;
    let mut reload = test.reload(PoolConfig { max_memory: Some(BOUND), max_surge: 1, ..config_of("silent") });
    test.until("slot 0 has a replacement", |status| !status.workers[0].others.is_empty()).await;
    let stays = |test: &TestPool| {
        use_memory(test, &[1], BOUND * 2);
        test.launcher.started_in(1).len() == 1
    };
    test.stays("slot 1 stays", Duration::from_secs(5), stays).await;
    assert!(reload.is_under_way());
    reload.report().await.result.unwrap_err();
    use_memory(&test, &[1], BOUND * 2);
    test.until("slot 1 is replaced afterwards", |_| test.launcher.started_in(1).len() == 2).await;
}

#[tokio::test(start_paused = true)]
async fn old_worker_is_replaced_at_its_maximum_age() {
    let max_age = Duration::from_secs(1000);
    let test = TestPool::ready(PoolConfig { max_age, ..config() }, 1).await;
    let took = test.until("the second process serves", |_| test.rotation() == [(0, 2)]).await;
    assert!((max_age.mul_f64(0.9)..max_age.mul_f64(1.1) + Duration::from_secs(1)).contains(&took), "{took:?}");
    assert_eq!(replaced(&test, 0, Cause::Age), 1);
}

#[tokio::test(start_paused = true)]
async fn failed_replacement_of_a_big_worker_leaves_it_serving() {
    let test = TestPool::ready(PoolConfig { max_memory: Some(BOUND), ..config_of("good") }, 0).await;
    test.operate(OperationRequest::Scale(1));
    test.until("slot 0 starts", |_| test.launcher.started_in(0).len() == 1).await;
    test.send(0, 1, WorkerEvent::Notify(NotifyMessage::Ready));
    test.until("slot 0 serves", |_| test.rotation() == [(0, 1)]).await;
    test.launcher.set(0, Behaviour::Broken);
    test.stays("the operation is over", Duration::from_secs(2), |test| test.rotation() == [(0, 1)]).await;
    let begun = Instant::now();
    let has_tries = |count| {
        use_memory(&test, &[0], BOUND * 2);
        test.launcher.started_in(0).len() > count
    };
    test.until("a replacement was tried", |_| has_tries(1)).await;
    let serves = |test: &TestPool| test.rotation() == [(0, 1)];
    test.stays("the old process serves", Duration::from_secs(30), |test| serves(test) && !has_tries(2)).await;
    test.until("another one is tried", |_| has_tries(2)).await;
    assert!(begun.elapsed() >= Duration::from_secs(60) && serves(&test), "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn suspicion_takes_at_most_half_of_a_pool_out_of_rotation() {
    let test = TestPool::ready(config(), 4).await;
    let fall = test.pool.config().health.fall;
    for slot in 0..4 {
        for _ in 0..fall {
            let result = CheckResult { check: Check::Fail, what: "timed out".to_owned(), took: Duration::ZERO };
            test.send(slot, 1, WorkerEvent::Probed(Some(result)));
        }
        let suspects = slot + 1;
        test.until("the slot is suspect", |status| {
            states(status).iter().filter(|state| **state == SlotState::Suspect).count() == suspects
        })
        .await;
        assert_eq!(test.rotation().len(), 4 - suspects.min(2), "{suspects} suspects");
        sleep(Duration::from_millis(50)).await;
    }
    let slots: Vec<_> = test.rotation().into_iter().map(|(slot, _)| slot).collect();
    assert_eq!(slots, [2, 3], "the oldest suspicions come first");
}
