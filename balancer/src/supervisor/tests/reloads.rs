//! Reloads: one slot after the other, new before old; what fails is taken back.

use super::*;

#[tokio::test(start_paused = true)]
async fn reload_replaces_each_slot_with_one_extra_process_at_most() {
    let test = TestPool::ready(config(), 3).await;
    test.launcher.take_most_alive();
    let mut reload = test.reload(config());
    let report = reload.report().await;
    assert_eq!((report.result, report.generation), (Ok(()), 2));
    assert_eq!(reload.ready_slots(), [0, 1, 2]);
    assert_eq!(test.launcher.take_most_alive(), 4);
    assert_eq!((test.generations(), test.launcher.alive()), (vec![2; 3], 3));
    assert_eq!(test.rotation(), [(0, 2), (1, 2), (2, 2)]);
}

#[tokio::test(start_paused = true)]
async fn reload_with_surge_two_starts_two_at_a_time() {
    let test = TestPool::ready(PoolConfig { max_surge: 2, ..config() }, 4).await;
    test.launcher.take_most_alive();
    test.reload(PoolConfig { max_surge: 2, ..config() }).report().await.result.unwrap();
    assert_eq!(test.launcher.take_most_alive(), 6);
}

#[tokio::test(start_paused = true)]
async fn release_that_exits_at_once_changes_nothing() {
    let test = TestPool::ready(config(), 2).await;
    let before = test.rotation();
    let report = test.reload(config_of("broken")).report().await;
    let why = report.result.unwrap_err();
    assert!(why.starts_with("api/0: ") && why.contains("exit code 3"), "{why}");
    assert_eq!((report.generation, test.generations()), (1, vec![1, 1]));
    assert_eq!((test.rotation(), test.states()), (before, vec![SlotState::Ready; 2]));
    assert_eq!(test.pool.config().program, program("good"));
}

#[tokio::test(start_paused = true)]
async fn release_that_cannot_be_started_changes_nothing() {
    let test = TestPool::ready(config(), 2).await;
    let report = test.reload(config_of("missing")).report().await;
    let why = report.result.unwrap_err();
    assert!(why.contains("cannot start `missing`"), "{why}");
    assert_eq!((test.generations(), test.launcher.alive()), (vec![1, 1], 2));
}

#[tokio::test(start_paused = true)]
async fn release_that_is_never_ready_fails_at_ready_timeout() {
    let test = TestPool::ready(config(), 2).await;
    let new = PoolConfig { ready_timeout: Duration::from_secs(30), ..config_of("silent") };
    let report = test.reload(new).report().await;
    let why = report.result.unwrap_err();
    assert!(why.contains("not ready within 30s"), "{why}");
    assert!((Duration::from_secs(30)..Duration::from_secs(31)).contains(&report.took), "{:?}", report.took);
    assert_eq!((test.generations(), test.launcher.alive()), (vec![1, 1], 2));
}

#[tokio::test(start_paused = true)]
async fn failed_second_slot_puts_the_first_back_to_old_release() {
    let test = TestPool::ready(config(), 2).await;
    test.launcher.set(1, Behaviour::Broken);
    let new = PoolConfig { program: program("new"), ..config_of("new") };
    let mut reload = test.reload(new);
    test.until("slot 0 starts the new release", |_| test.launcher.started_in(0).len() == 2).await;
    test.send(0, 2, WorkerEvent::Notify(NotifyMessage::Ready));
    let report = reload.report().await;
    assert!(report.result.unwrap_err().starts_with("api/1: "));
    let programs: Vec<_> = test.launcher.started_in(0).into_iter().map(|child| child.program).collect();
    assert_eq!(programs, ["good", "new", "good"]);
    assert_eq!((test.generations(), test.states()), (vec![1, 1], vec![SlotState::Ready; 2]));
    assert_eq!(test.rotation(), [(0, 3), (1, 1)]);
}

#[tokio::test(start_paused = true)]
async fn release_that_dies_during_the_roll_stops_the_roll() {
    let test = TestPool::ready(config(), 2).await;
    let mut reload = test.reload(config_of("new"));
    test.until("slot 0 starts the new release", |_| test.launcher.started_in(0).len() == 2).await;
    test.send(0, 2, WorkerEvent::Notify(NotifyMessage::Ready));
    test.until("slot 1 starts the new release", |_| test.launcher.started_in(1).len() == 2).await;
    test.launcher.exit(0, Exit::Code(7));
    let why = reload.report().await.result.unwrap_err();
    assert!(why.contains("api/0: it had taken its place, and then ended: exit code 7"), "{why}");
    test.until("all serve the old release", |status| {
        states(status) == [SlotState::Ready; 2] && status.workers.iter().all(|worker| worker.generation == 1)
    })
    .await;
    assert_eq!(test.launcher.alive(), 2);
}

#[tokio::test(start_paused = true)]
async fn reload_after_a_failed_one_names_the_generation_it_brings() {
    let test = TestPool::ready(config(), 1).await;
    test.reload(config_of("broken")).report().await.result.unwrap_err();
    let mut reload = test.reload(config());
    assert_eq!(reload.report().await.generation, 3);
    let Some(OperationStep::Began { generation, next_generation, .. }) = reload.steps.first() else {
        panic!("no first step: {:?}", reload.steps)
    };
    assert_eq!((*generation, *next_generation), (1, Some(3)));
}

#[tokio::test(start_paused = true)]
async fn second_operation_is_refused_while_one_is_in_progress() {
    let test = TestPool::ready(config(), 1).await;
    let mut reload = test.reload(config_of("silent"));
    let why = test.operate(OperationRequest::Scale(2)).refusal().await;
    assert_eq!(why, "a reload of pool `api` is under way");
    assert!(reload.is_under_way());
}

#[tokio::test(start_paused = true)]
async fn larger_pool_that_does_not_come_up_keeps_its_former_size() {
    let test = TestPool::ready(config(), 2).await;
    test.launcher.set(3, Behaviour::Missing);
    let report = test.operate(OperationRequest::Scale(4)).report().await;
    assert!(report.result.unwrap_err().starts_with("api/3: "));
    assert_eq!((test.status().desired_workers, test.launcher.alive()), (2, 2));
    assert_eq!(test.states(), [SlotState::Ready; 2]);
}

#[tokio::test(start_paused = true)]
async fn smaller_pool_drains_the_highest_slots() {
    let test = TestPool::ready(config(), 4).await;
    test.operate(OperationRequest::Scale(1)).report().await.result.unwrap();
    assert_eq!((test.rotation(), test.launcher.alive()), (vec![(0, 1)], 1));
    assert!((1..4).all(|slot| test.data_path.was_asked("worker_exited", slot, 1)));
}
