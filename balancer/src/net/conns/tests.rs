use super::*;
use std::future::poll_fn;
use std::task::Poll;

/// Waits for the next order as a connection does.
async fn order(place: &Place) -> Order {
    poll_fn(|cx| place.order(cx).map_or(Poll::Pending, Poll::Ready)).await
}

#[tokio::test(start_paused = true)]
async fn a_deadline_is_met_to_the_tick_and_never_early() {
    let ticker = tokio::spawn(run_ticker());
    let place = Place::enter(0);
    let start = Instant::now();
    place.due_in(Duration::from_millis(250));
    assert_eq!(order(&place).await, Order::Due);
    let took = start.elapsed();
    assert!(took >= Duration::from_millis(250) && took <= Duration::from_millis(400), "{took:?}");
    ticker.abort();
}

#[tokio::test(start_paused = true)]
async fn silence_is_counted_from_the_last_byte() {
    let ticker = tokio::spawn(run_ticker());
    let place = Place::enter(0);
    place.due_when_silent(Duration::from_secs(10));
    let start = Instant::now();
    for _ in 0..3 {
        sleep(Duration::from_secs(9)).await;
        place.moved(false);
        assert!(poll_fn(|cx| Poll::Ready(place.order(cx))).await.is_none());
    }
    assert_eq!(order(&place).await, Order::Due);
    let took = start.elapsed();
    assert!(took >= Duration::from_secs(37) && took <= Duration::from_secs(40), "{took:?}");
    ticker.abort();
}

#[tokio::test(start_paused = true)]
async fn a_drain_asks_only_the_silent_and_asks_again() {
    let ticker = tokio::spawn(run_ticker());
    let (busy, silent) = (Place::enter(0), Place::enter(0));
    sleep(Duration::from_secs(5)).await;
    assert!(poll_fn(|cx| Poll::Ready(silent.order(cx))).await.is_none(), "no drain yet");
    drain_quiet();
    for _ in 0..2 {
        busy.moved(false);
        assert_eq!(order(&silent).await, Order::Quiet(Scope::All));
        assert!(poll_fn(|cx| Poll::Ready(busy.order(cx))).await.is_none());
    }
    ticker.abort();
}

#[tokio::test(start_paused = true)]
async fn orders_reach_whom_they_are_for_and_the_strongest_stays() {
    let [mine, other] = [1, 2].map(|incarnation| Owner { pool: 0, slot: SlotId(0), incarnation });
    let (a, b) = (Place::enter(0), Place::enter(0));
    a.belongs_to(Some(mine));
    b.belongs_to(Some(other));
    orphan(mine, None);
    assert_eq!(order(&a).await, Order::Orphaned);
    assert!(poll_fn(|cx| Poll::Ready(b.order(cx))).await.is_none());
    cut_all();
    orphan(other, None);
    assert_eq!((order(&a).await, order(&b).await), (Order::Cut(Scope::All), Order::Cut(Scope::All)));
}

#[tokio::test(start_paused = true)]
async fn a_drain_of_one_worker_asks_its_own_also_those_that_come_later_and_ends_with_it() {
    let ticker = tokio::spawn(run_ticker());
    let [mine, other] = [1, 2].map(|slot| Owner { pool: 0, slot: SlotId(slot), incarnation: 1 });
    let [silent, late, others] = [(); 3].map(|()| Place::enter(0));
    silent.belongs_to(Some(mine));
    others.belongs_to(Some(other));
    sleep(Duration::from_secs(5)).await;
    let start = Instant::now();
    silent.moved(false);
    quieten(mine);
    assert_eq!(order(&silent).await, Order::Quiet(Scope::Worker));
    let took = start.elapsed();
    assert!(took >= QUIET && took <= QUIET + 3 * TICK, "{took:?}");
    late.belongs_to(Some(mine));
    assert_eq!(order(&late).await, Order::Quiet(Scope::Worker), "it was silent for long before");
    assert!(poll_fn(|cx| Poll::Ready(others.order(cx))).await.is_none());
    late.belongs_to(Some(other));
    orphan(mine, None);
    assert_eq!(order(&silent).await, Order::Orphaned);
    assert!(CONNS.with_borrow(|conns| conns.quiet.is_empty()), "it cannot grow");
    sleep(Duration::from_secs(5)).await;
    for place in [&silent, &late, &others] {
        assert!(poll_fn(|cx| Poll::Ready(place.order(cx))).await.is_none());
    }
    ticker.abort();
}

#[tokio::test(start_paused = true)]
async fn a_cut_tells_those_that_owe_nothing_first() {
    let mine = Owner { pool: 0, slot: SlotId(0), incarnation: 1 };
    let (told, mut hears) = tokio::sync::mpsc::unbounded_channel();
    for i in 0..6 {
        let told = told.clone();
        tokio::spawn(async move {
            let place = Place::enter(0);
            place.belongs_to(Some(mine));
            place.moved(i % 2 == 0);
            assert_eq!(order(&place).await, Order::Cut(Scope::Worker));
            told.send(i % 2 == 0).unwrap();
        });
    }
    tokio::task::yield_now().await;
    cut(mine);
    let mut owed = Vec::new();
    for _ in 0..6 {
        owed.push(hears.recv().await.unwrap());
    }
    assert_eq!(owed, [false, false, false, true, true, true]);
}
