//! One worker drains while the others serve. Its idle connections are closed, connections with a pending response stay,
//! and connections without any byte move to another worker.

use std::time::Duration;

use roundelay::rotation::{Endpoint, SlotId};
use roundelay::stats::Outcome;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::kit::*;

const SOON: Duration = Duration::from_secs(20);
/// The silence after which a drain closes a connection.
const QUIET: Duration = Duration::from_secs(1);
const FIRST: SlotId = SlotId(0);

/// Opens a connection to that slot and makes one exchange on it.
async fn spoken_to(stand: &Stand, slot: usize) -> TcpStream {
    stand.rotate(&[slot]);
    stand.spoken().await
}

async fn owed_by(stand: &Stand, slot: usize) -> TcpStream {
    stand.rotate(&[slot]);
    let mut client = stand.connect().await;
    let before = stand.pool.slots()[slot].rx_bytes.get();
    client.write_all(b"ping").await.unwrap();
    wait_until("given", || stand.pool.slots()[slot].rx_bytes.get() == before + 4).await;
    client
}

/// Opens a connection to that slot and sends no byte on it.
async fn untouched_on(stand: &Stand, slot: usize) -> TcpStream {
    stand.rotate(&[slot]);
    let before = stand.upstreams[slot].active();
    let client = stand.connect().await;
    let upstream = &stand.upstreams[slot];
    wait_until("connected", || upstream.active() == before + 1 && upstream.connecting() == 0).await;
    client
}

#[tokio::test]
async fn idle_connections_of_a_draining_worker_alone_end_by_fin() {
    for threads in THREADS {
        let stand = stand(threads, &[echo_worker().await, echo_worker().await]);
        let mut others = spoken_to(&stand, 1).await;
        let mut idle = spoken_to(&stand, 0).await;
        let said = Instant::now();
        ping(&mut idle).await;
        stand.rotate(&[1]);
        stand.data.close_idle(0, FIRST, 2);
        stand.data.close_idle(0, FIRST, 1);
        within(read_all(&mut idle)).await.1.expect("FIN");
        assert!(said.elapsed() >= QUIET, "{:?} of silence", said.elapsed());
        wait_until("counted", || stand.upstreams[0].closes[Outcome::Closed as usize].get() == 1).await;
        // This connection was silent for as long, but its worker stays.
        ping(&mut others).await;
        drop(others);
        stand.finish(SOON).await;
    }
}

#[tokio::test]
async fn client_gets_a_pending_response_before_it_is_closed() {
    for threads in THREADS {
        let slow = worker(|mut stream| async move {
            let _ = stream.read_exact(&mut [0; 4]).await;
            pauses(2 * QUIET).await;
            let _ = stream.write_all(b"late").await;
            std::future::pending::<()>().await;
        })
        .await;
        let stand = stand(threads, &[slow]);
        let mut client = owed_by(&stand, 0).await;
        stand.data.close_idle(0, FIRST, 1);
        let (answer, end) = within(read_all(&mut client)).await;
        assert_eq!(answer, b"late");
        end.expect("FIN");
        wait_until("counted", || stand.ended(Outcome::Closed) == 1).await;
        stand.finish(SOON).await;
    }
}

#[tokio::test]
async fn client_that_sends_within_each_second_is_not_closed() {
    for threads in THREADS {
        let stand = stand(threads, &[echo_worker().await]);
        let mut client = stand.spoken().await;
        stand.data.close_idle(0, FIRST, 1);
        let begun = Instant::now();
        let mut said = begun;
        while begun.elapsed() < 3 * QUIET {
            pauses(QUIET / 4).await;
            let mut answer = [0; 4];
            let is_answered = client.write_all(b"ping").await.is_ok() && client.read_exact(&mut answer).await.is_ok();
            // On a machine that pauses for a second, the connection looks silent.
            assert!(is_answered || said.elapsed() >= QUIET, "closed after {:?}", said.elapsed());
            if !is_answered {
                client = stand.spoken().await;
            }
            said = Instant::now();
        }
        within(read_all(&mut client)).await.1.expect("FIN, now that the client is silent");
        stand.finish(SOON).await;
    }
}

#[tokio::test]
async fn connection_opened_after_close_idle_is_closed_too() {
    for threads in THREADS {
        let stand = stand(threads, &[echo_worker().await]);
        stand.data.close_idle(0, FIRST, 1);
        let mut clients = Vec::new();
        for _ in 0..4 {
            clients.push(stand.spoken().await);
        }
        for client in &mut clients {
            within(read_all(client)).await.1.expect("FIN");
        }
        wait_until("counted", || stand.ended(Outcome::Closed) == 4).await;
        stand.finish(SOON).await;
    }
}

#[tokio::test]
async fn client_without_a_byte_moves_when_its_worker_drains() {
    for threads in THREADS {
        let stand = stand(threads, &[echo_worker().await, echo_worker().await]);
        let mut client = untouched_on(&stand, 0).await;
        stand.rotate(&[1]);
        stand.data.close_idle(0, FIRST, 1);
        wait_until("moved", || stand.upstreams[0].active() == 0 && stand.upstreams[1].active() == 1).await;
        ping(&mut client).await;
        eventually_eq!(stand.pool.slots()[0].retries.get(), 1);
        drop(client);
        stand.finish(SOON).await;
    }
}

#[tokio::test]
async fn abort_closes_idle_resets_pending_and_moves_untouched() {
    for threads in THREADS {
        // This worker answers only once.
        let moody = worker(|mut stream| async move {
            let mut said = [0; 4];
            let _ = stream.read_exact(&mut said).await;
            let _ = stream.write_all(&said).await;
            std::future::pending::<()>().await;
        })
        .await;
        let mut stand = stand(threads, &[moody, echo_worker().await]);
        let mut idle = spoken_to(&stand, 0).await;
        let mut owed = spoken_to(&stand, 0).await;
        let given = stand.pool.slots()[0].rx_bytes.get();
        owed.write_all(b"more").await.unwrap();
        wait_until("given", || stand.pool.slots()[0].rx_bytes.get() == given + 4).await;
        let mut half_closed = spoken_to(&stand, 0).await;
        half_closed.shutdown().await.unwrap();
        let mut untouched = untouched_on(&stand, 0).await;
        let mut others = spoken_to(&stand, 1).await;
        wait_until("all there", || stand.upstreams[0].active() == 4).await;
        stand.data.abort(0, FIRST, 1);
        within(read_all(&mut idle)).await.1.expect("FIN: no response was pending");
        assert!(is_reset(&within(read_all(&mut owed)).await.1), "a response was pending");
        assert!(is_reset(&within(read_all(&mut half_closed)).await.1), "the worker's end was pending");
        ping(&mut untouched).await;
        ping(&mut others).await;
        wait_until("the cut worker has no connections", || stand.upstreams[0].active() == 0).await;
        let closes = |outcome: Outcome| stand.upstreams[0].closes[outcome as usize].get();
        eventually_eq!((closes(Outcome::Closed), closes(Outcome::Cut)), (1, 2));
        eventually_eq!((stand.pool.slots()[0].retries.get(), stand.upstreams[1].active()), (1, 2));
        assert!(stand.reports.try_recv().is_err(), "leaving a worker is not the worker's failure");
        drop((untouched, others));
        stand.finish(SOON).await;
    }
}

#[tokio::test]
async fn untouched_connection_ends_by_fin_without_another_worker() {
    for threads in THREADS {
        let stand = stand(threads, &[echo_worker().await]);
        let mut client = untouched_on(&stand, 0).await;
        stand.rotate(&[]);
        stand.data.abort(0, FIRST, 1);
        within(read_all(&mut client)).await.1.expect("FIN");
        wait_until("counted", || stand.ended(Outcome::Closed) == 1).await;
        stand.finish(SOON).await;
    }
}

#[tokio::test]
async fn abort_of_all_workers_moves_no_client() {
    for threads in THREADS {
        let stand = stand(threads, &[echo_worker().await, echo_worker().await]);
        let mut client = untouched_on(&stand, 0).await;
        stand.rotate(&[0, 1]);
        stand.data.abort_all();
        within(read_all(&mut client)).await.1.expect("FIN");
        eventually_eq!(stand.pool.slots()[0].retries.get(), 0);
        stand.finish(SOON).await;
    }
}

#[tokio::test]
async fn connect_in_progress_is_moved_by_an_abort() {
    for threads in THREADS {
        let full = FullQueue::new();
        let stand = stand_with(threads, &[Endpoint::Tcp(full.at), echo_worker().await], |config| {
            config.connect_timeout = SOON;
            config.dispatch_timeout = SOON;
        });
        stand.rotate(&[0]);
        let client = stand.connect().await;
        wait_until("connecting", || stand.upstreams[0].connecting() == 1).await;
        stand.rotate(&[1]);
        stand.data.abort(0, FIRST, 1);
        assert_eq!(within(exchange(client, text(1, 5000))).await, text(1, 5000));
        stand.finish(SOON).await;
    }
}

/// Starts a worker that answers once, and closes at a signal, as the kernel does for a process that is killed.
async fn dies_by(death: &watch::Sender<bool>) -> Endpoint {
    let death = death.subscribe();
    worker(move |mut stream| {
        let mut death = death.clone();
        async move {
            let mut said = [0; 4];
            let _ = stream.read_exact(&mut said).await;
            let _ = stream.write_all(&said).await;
            let _ = death.wait_for(|is_dead| *is_dead).await;
        }
    })
    .await
}

#[tokio::test]
async fn idle_clients_of_a_killed_worker_are_closed_at_any_age() {
    for threads in THREADS {
        let death = watch::Sender::new(false);
        let stand = stand(threads, &[dies_by(&death).await]);
        let mut clients = Vec::new();
        for _ in 0..8 {
            clients.push(stand.spoken().await);
        }
        let mut owed = stand.spoken().await;
        let given = stand.pool.slots()[0].rx_bytes.get();
        owed.write_all(b"more").await.unwrap();
        wait_until("given", || stand.pool.slots()[0].rx_bytes.get() == given + 4).await;
        stand.upstreams[0].set_draining();
        stand.upstreams[0].set_ended(false);
        death.send_replace(true);
        let closes = |outcome: Outcome| stand.upstreams[0].closes[outcome as usize].get();
        wait_until("counted", || stand.upstreams[0].active() == 0).await;
        assert_eq!((closes(Outcome::Closed), closes(Outcome::UpstreamReset)), (8, 1));
        for client in clients.iter_mut().chain([&mut owed]) {
            assert!(is_reset(&within(read_all(client)).await.1), "a broken connection ends with a reset");
        }
        stand.finish(SOON).await;
    }
}
