//! The end of a pool.

use super::*;

#[tokio::test(start_paused = true)]
async fn stop_during_a_roll_ends_every_process() {
    let mut test = TestPool::ready(config(), 2).await;
    let mut reload = test.reload(config_of("silent"));
    test.until("a replacement starts", |_| test.launcher.alive() == 3).await;
    test.handle.shut_down(Shutdown::Stop);
    assert_eq!(reload.report().await.result, Err("the master is stopping".to_owned()));
    let report = test.task.ended().await.unwrap().report();
    assert_eq!((report.result, report.generation, test.launcher.alive()), (Ok(()), 1, 0));
}

#[tokio::test(start_paused = true)]
async fn deaf_worker_is_killed_at_kill_timeout() {
    let kill_timeout = Duration::from_secs(7);
    let deaf = PoolConfig { program: program("deaf"), kill_timeout, ..config() };
    let mut test = TestPool::ready(deaf, 2).await;
    let begun = Instant::now();
    test.handle.shut_down(Shutdown::Stop);
    test.task.ended().await.unwrap();
    let took = begun.elapsed();
    assert!((kill_timeout..kill_timeout + Duration::from_secs(2)).contains(&took), "{took:?}");
    assert_eq!(test.launcher.alive(), 0);
}

#[tokio::test(start_paused = true)]
async fn kill_ends_deaf_workers_at_once() {
    let mut test = TestPool::ready(PoolConfig { program: program("deaf"), ..config() }, 3).await;
    let begun = Instant::now();
    test.handle.shut_down(Shutdown::Kill);
    test.task.ended().await.unwrap();
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn crashed_worker_of_an_ending_pool_is_not_started_again() {
    let mut test = TestPool::ready(PoolConfig { program: program("deaf"), ..config() }, 2).await;
    test.handle.shut_down(Shutdown::Stop);
    test.launcher.exit(0, Exit::Code(1));
    test.task.ended().await.unwrap();
    assert_eq!(test.launcher.started().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn operation_is_refused_once_the_end_has_begun() {
    let test = TestPool::ready(config(), 1).await;
    test.handle.shut_down(Shutdown::Close);
    let why = test.operate(OperationRequest::Scale(2)).refusal().await;
    assert_eq!(why, "the master is stopping");
    assert_eq!(test.accept_state(), AcceptState::Closing);
    assert_eq!(test.rotation(), [(0, 1)], "the workers go on until the connections have ended");
}
