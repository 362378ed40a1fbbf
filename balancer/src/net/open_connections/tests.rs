use super::*;
use std::future::poll_fn;
use std::task::Poll;

/// Waits for the next reason as a connection does.
async fn woken(registration: &Registration) -> WakeReason {
    poll_fn(|cx| registration.wake_reason(cx).map_or(Poll::Pending, Poll::Ready)).await
}

#[tokio::test(start_paused = true)]
async fn deadline_is_met_to_the_tick_and_never_early() {
    let ticker = tokio::spawn(run_ticker());
    let registration = Registration::new(0);
    let start = Instant::now();
    registration.due_in(Duration::from_millis(250));
    assert_eq!(woken(&registration).await, WakeReason::TimedOut);
    let took = start.elapsed();
    assert!(took >= Duration::from_millis(250) && took <= Duration::from_millis(400), "{took:?}");
    ticker.abort();
}

#[tokio::test(start_paused = true)]
async fn silence_is_counted_from_the_last_byte() {
    let ticker = tokio::spawn(run_ticker());
    let registration = Registration::new(0);
    registration.due_when_silent(Duration::from_secs(10));
    let start = Instant::now();
    for _ in 0..3 {
        sleep(Duration::from_secs(9)).await;
        registration.moved(false);
        assert!(poll_fn(|cx| Poll::Ready(registration.wake_reason(cx))).await.is_none());
    }
    assert_eq!(woken(&registration).await, WakeReason::TimedOut);
    let took = start.elapsed();
    assert!(took >= Duration::from_secs(37) && took <= Duration::from_secs(40), "{took:?}");
    ticker.abort();
}

#[tokio::test(start_paused = true)]
async fn drain_wakes_only_idle_connections_repeatedly() {
    let ticker = tokio::spawn(run_ticker());
    let (busy, silent) = (Registration::new(0), Registration::new(0));
    sleep(Duration::from_secs(5)).await;
    assert!(poll_fn(|cx| Poll::Ready(silent.wake_reason(cx))).await.is_none(), "no drain yet");
    close_all_idle();
    for _ in 0..2 {
        busy.moved(false);
        assert_eq!(woken(&silent).await, WakeReason::CloseIfIdle(Scope::All));
        assert!(poll_fn(|cx| Poll::Ready(busy.wake_reason(cx))).await.is_none());
    }
    ticker.abort();
}

#[tokio::test(start_paused = true)]
async fn wake_reason_reaches_its_owner_and_abort_outranks_exit() {
    let [mine, other] = [1, 2].map(|incarnation| Owner { pool: 0, slot: SlotId(0), incarnation });
    let (a, b) = (Registration::new(0), Registration::new(0));
    a.belongs_to(Some(mine));
    b.belongs_to(Some(other));
    worker_exited(mine, None);
    assert_eq!(woken(&a).await, WakeReason::WorkerExited);
    assert!(poll_fn(|cx| Poll::Ready(b.wake_reason(cx))).await.is_none());
    abort_all();
    worker_exited(other, None);
    assert_eq!((woken(&a).await, woken(&b).await), (WakeReason::Abort(Scope::All), WakeReason::Abort(Scope::All)));
}

#[tokio::test(start_paused = true)]
async fn worker_drain_wakes_its_own_and_later_connections() {
    let ticker = tokio::spawn(run_ticker());
    let [mine, other] = [1, 2].map(|slot| Owner { pool: 0, slot: SlotId(slot), incarnation: 1 });
    let [silent, late, others] = [(); 3].map(|()| Registration::new(0));
    silent.belongs_to(Some(mine));
    others.belongs_to(Some(other));
    sleep(Duration::from_secs(5)).await;
    let start = Instant::now();
    silent.moved(false);
    close_idle(mine);
    assert_eq!(woken(&silent).await, WakeReason::CloseIfIdle(Scope::Worker));
    let took = start.elapsed();
    assert!(took >= IDLE && took <= IDLE + 3 * TICK, "{took:?}");
    late.belongs_to(Some(mine));
    assert_eq!(woken(&late).await, WakeReason::CloseIfIdle(Scope::Worker), "it was silent for long before");
    assert!(poll_fn(|cx| Poll::Ready(others.wake_reason(cx))).await.is_none());
    late.belongs_to(Some(other));
    worker_exited(mine, None);
    assert_eq!(woken(&silent).await, WakeReason::WorkerExited);
    assert!(OPEN_CONNECTIONS.with_borrow(|open| open.draining.is_empty()), "it cannot grow");
    sleep(Duration::from_secs(5)).await;
    for registration in [&silent, &late, &others] {
        assert!(poll_fn(|cx| Poll::Ready(registration.wake_reason(cx))).await.is_none());
    }
    ticker.abort();
}

#[tokio::test(start_paused = true)]
async fn abort_wakes_connections_without_pending_response_first() {
    let mine = Owner { pool: 0, slot: SlotId(0), incarnation: 1 };
    let (told, mut hears) = tokio::sync::mpsc::unbounded_channel();
    for i in 0..6 {
        let told = told.clone();
        tokio::spawn(async move {
            let registration = Registration::new(0);
            registration.belongs_to(Some(mine));
            registration.moved(i % 2 == 0);
            assert_eq!(woken(&registration).await, WakeReason::Abort(Scope::Worker));
            told.send(i % 2 == 0).unwrap();
        });
    }
    tokio::task::yield_now().await;
    abort(mine);
    let mut awaiting = Vec::new();
    for _ in 0..6 {
        awaiting.push(hears.recv().await.unwrap());
    }
    assert_eq!(awaiting, [false, false, false, true, true, true]);
}
