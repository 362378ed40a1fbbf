//! The accept state while no worker is in rotation.

use super::*;
use crate::config::Restart;
use crate::pool::operation::SlotRange;

#[tokio::test(start_paused = true)]
async fn clients_are_held_then_rejected_then_served_again() {
    let restart =
        Restart { backoff: Duration::from_secs(60), backoff_max: Duration::from_secs(60), ..Restart::default() };
    let config = PoolConfig { hold_timeout: Duration::from_secs(10), restart, ..config() };
    let test = TestPool::ready(config, 2).await;
    assert_eq!(test.accept_state(), AcceptState::Open);
    // The first restart is at once, the second after the backoff.
    for slot in [0, 1] {
        test.launcher.set(slot, Behaviour::Broken);
        test.launcher.exit(slot, Exit::Code(1));
    }
    test.until("no worker is left", |status| status.accept_state == AcceptState::Hold).await;
    let held = test.until("clients are rejected", |status| status.accept_state == AcceptState::Reject).await;
    assert!((Duration::from_secs(9)..Duration::from_secs(11)).contains(&held), "{held:?}");
    [0, 1].into_iter().for_each(|slot| test.launcher.unset(slot));
    test.until("a worker is back", |status| status.accept_state == AcceptState::Open).await;
    assert!(!test.rotation().is_empty());
}

#[tokio::test(start_paused = true)]
async fn stopped_pool_rejects_at_once_and_serves_when_started() {
    let test = TestPool::ready(config(), 2).await;
    test.operate(OperationRequest::Stop(SlotRange::All)).report().await.result.unwrap();
    assert_eq!((test.accept_state(), test.states()), (AcceptState::Reject, vec![SlotState::Stopped; 2]));
    test.operate(OperationRequest::Start(SlotRange::All)).report().await.result.unwrap();
    assert_eq!((test.accept_state(), test.rotation().len()), (AcceptState::Open, 2));
}

#[tokio::test(start_paused = true)]
async fn reloaded_hold_timeout_applies_to_the_next_hold() {
    let test = TestPool::ready(PoolConfig { hold_timeout: Duration::from_secs(600), ..config() }, 1).await;
    test.reload(PoolConfig { hold_timeout: Duration::from_secs(2), ..config() }).report().await.result.unwrap();
    test.launcher.set(0, Behaviour::Broken);
    test.launcher.exit(0, Exit::Code(1));
    test.until("clients are held", |status| status.accept_state == AcceptState::Hold).await;
    let held = test.until("clients are rejected", |status| status.accept_state == AcceptState::Reject).await;
    assert!(held < Duration::from_secs(3), "{held:?}");
}
