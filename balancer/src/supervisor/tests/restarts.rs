//! Starts that fail, workers that crash, and when a pool gives up.

use super::*;
use crate::config::{GiveUp, Restart};

#[tokio::test(start_paused = true)]
async fn crash_loop_starts_at_growing_intervals_up_to_the_maximum() {
    let restart = Restart {
        backoff: Duration::from_secs(1),
        backoff_max: Duration::from_secs(8),
        max_exits: 1000,
        ..Restart::default()
    };
    let test = TestPool::ready(PoolConfig { restart, ..config() }, 2).await;
    test.launcher.set(0, Behaviour::Broken);
    test.launcher.exit(0, Exit::Code(3));
    test.until("slot 0 was started nine times", |_| test.launcher.started_in(0).len() >= 9).await;
    let starts = test.launcher.started_in(0);
    let waits: Vec<f64> = starts.windows(2).map(|pair| (pair[1].at - pair[0].at).as_secs_f64()).skip(1).collect();
    for (wait, expected) in waits.iter().zip([1.0, 2.0, 4.0, 8.0, 8.0, 8.0]) {
        let is_near = (0.75 * expected..=1.25 * expected).contains(wait);
        assert!(is_near, "the backoff is random by 20 %: {waits:?}");
    }
    assert_eq!(test.rotation(), [(1, 1)], "the other slot serves all the time");
}

#[tokio::test(start_paused = true)]
async fn crashed_worker_is_started_again_and_serves() {
    let test = TestPool::ready(config(), 2).await;
    test.launcher.exit(1, Exit::Signal(libc::SIGSEGV));
    test.until("slot 1 serves again", |status| {
        status.workers[1].restarts == 1 && status.workers[1].state == SlotState::Ready
    })
    .await;
    assert_eq!(test.rotation(), [(0, 1), (1, 2)]);
    let exit = test.status().workers[1].last_exit.clone().unwrap();
    assert_eq!(exit.what, "killed by signal 11 (SEGV)");
    assert!(test.data_path.was_asked("worker_exited", 1, 1));
}

#[tokio::test(start_paused = true)]
async fn pool_that_may_give_up_ends_after_too_many_exits() {
    let restart = Restart { give_up: GiveUp::Exit, max_exits: 4, ..Restart::default() };
    let mut test = TestPool::ready(PoolConfig { restart, ..config() }, 2).await;
    test.launcher.set(0, Behaviour::Broken);
    test.launcher.exit(0, Exit::Code(3));
    let failure = test.task.ended().await.map(drop).unwrap_err().to_string();
    assert!(failure.contains("api/0 ended too often"), "{failure}");
    assert_eq!(test.launcher.alive(), 0, "the other worker was ended too");
}

#[tokio::test(start_paused = true)]
async fn pool_that_never_gives_up_tries_a_failed_slot_again() {
    let restart = Restart { max_exits: 4, backoff_max: Duration::from_secs(60), ..Restart::default() };
    let test = TestPool::ready(PoolConfig { restart, ..config() }, 2).await;
    test.launcher.set(0, Behaviour::Broken);
    test.launcher.exit(0, Exit::Code(3));
    test.until("slot 0 has failed", |status| status.workers[0].state == SlotState::Failed).await;
    test.launcher.unset(0);
    test.until("slot 0 serves again", |status| status.workers[0].state == SlotState::Ready).await;
}

#[tokio::test(start_paused = true)]
async fn missing_program_fails_the_first_start_at_once() {
    let mut test = TestPool::start(config_of("missing"), 2);
    let begun = Instant::now();
    let failure = test.task.ended().await.map(drop).unwrap_err().to_string();
    assert!(failure.contains("pool `api`: no worker became ready"), "{failure}");
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn silent_program_fails_the_first_start_at_ready_timeout() {
    let config = PoolConfig { ready_timeout: Duration::from_secs(45), ..config_of("silent") };
    let mut test = TestPool::start(config, 2);
    let begun = Instant::now();
    let failure = test.task.ended().await.map(drop).unwrap_err().to_string();
    assert!(failure.contains("no worker became ready") && failure.contains("45s"), "{failure}");
    assert!((45..47).contains(&begun.elapsed().as_secs()), "{:?}", begun.elapsed());
    assert_eq!(test.launcher.alive(), 0);
}

#[tokio::test(start_paused = true)]
async fn late_event_of_a_dead_process_changes_nothing() {
    let test = TestPool::ready(config(), 1).await;
    test.launcher.exit(0, Exit::Code(1));
    test.until("the second process serves", |status| {
        status.workers[0].restarts == 1 && status.workers[0].state == SlotState::Ready
    })
    .await;
    let (rotation, pid) = (test.rotation(), test.launcher.pid(0));
    for event in [WorkerEvent::Drained, WorkerEvent::ConnectFailed, WorkerEvent::Accepts] {
        test.send(0, 1, event);
    }
    test.send(0, 1, WorkerEvent::Notify(NotifyMessage::Stopping));
    test.send(7, 1, WorkerEvent::Accepts);
    test.stays("the second process serves", Duration::from_secs(5), |test| {
        test.rotation() == rotation && test.status().workers[0].pid == Some(pid)
    })
    .await;
    test.send(0, 2, WorkerEvent::Notify(NotifyMessage::Stopping));
    test.until("the present one is heard", |status| status.workers[0].state != SlotState::Ready).await;
}
