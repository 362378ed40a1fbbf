//! How many clients wait for a worker's answer: counted from their bytes to its first, and given back however it ends. That
//! nothing leaks is also looked at after every other test here.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use roundelay::rotation::{Endpoint, SlotId, Upstream};
use roundelay::stats::Outcome;
use roundelay::strategy;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::kit::*;

const SOON: Duration = Duration::from_secs(20);

/// A worker that answers each four bytes when it is let.
async fn patient_worker() -> (Endpoint, Arc<Semaphore>) {
    let lets = Arc::new(Semaphore::new(0));
    let given = Arc::clone(&lets);
    let endpoint = worker(move |mut stream| {
        let lets = Arc::clone(&lets);
        async move {
            let mut bytes = [0; 4];
            while stream.read_exact(&mut bytes).await.is_ok() {
                lets.acquire().await.unwrap().forget();
                if stream.write_all(&bytes).await.is_err() {
                    return;
                }
            }
        }
    })
    .await;
    (endpoint, given)
}

async fn until_waiting(upstream: &Upstream, count: usize) {
    until(&format!("{count} waiting"), || upstream.waiting() == count).await;
}

/// Clients that wait for that slot.
async fn asking(stand: &Stand, slot: usize, count: usize) -> Vec<TcpStream> {
    let mut clients = Vec::new();
    for _ in 0..count {
        let mut client = stand.connect().await;
        client.write_all(b"ping").await.unwrap();
        clients.push(client);
    }
    until_waiting(&stand.upstreams[slot], count).await;
    clients
}

#[tokio::test]
async fn a_client_waits_from_its_bytes_to_the_first_that_come_back_at_each_request() {
    for threads in THREADS {
        let (endpoint, lets) = patient_worker().await;
        let stand = stand(threads, &[endpoint]);
        let upstream = &stand.upstreams[0];
        let mut client = stand.connect().await;
        until("connected", || upstream.active() == 1 && upstream.connecting() == 0).await;
        assert_eq!(upstream.waiting(), 0, "it has said nothing");
        for _ in 0..3 {
            client.write_all(b"ping").await.unwrap();
            until_waiting(upstream, 1).await;
            lets.add_permits(1);
            let mut answer = [0; 4];
            within(client.read_exact(&mut answer)).await.unwrap();
            // Given back before the client can see the answer, so that its next connection finds the worker free.
            assert_eq!(upstream.waiting(), 0, "open, and waits for nothing");
        }
        drop(client);
        stand.finish(SOON).await;
    }
}

#[tokio::test]
async fn however_a_connection_ends_it_waits_no_longer() {
    for threads in THREADS {
        let stand = stand_with(threads, &[mute_worker().await], |config| {
            config.half_closed_timeout = Duration::from_secs(2);
        });
        let upstream = Arc::clone(&stand.upstreams[0]);
        let mut clients = asking(&stand, 0, 6).await;

        reset(clients.pop().unwrap());
        until_waiting(&upstream, 5).await;
        // It ends its side and still waits, until it is silent for too long.
        let mut half = clients.pop().unwrap();
        half.shutdown().await.unwrap();
        assert!(timeout(Duration::from_millis(50), half.read(&mut [0])).await.is_err());
        assert_eq!(upstream.waiting(), 5);
        until_waiting(&upstream, 4).await;
        assert!(is_reset(&within(read_all(&mut half)).await.1));

        // Cut at a drain deadline.
        stand.data.abort(0, SlotId(0), 1);
        until_waiting(&upstream, 0).await;
        // Nobody was ever answered here: that is no loss.
        until("ended", || stand.ended(Outcome::Unanswered) == 4).await;
        drop(clients);
        stand.finish(SOON).await;
    }
}

#[tokio::test]
async fn an_idle_timeout_a_reset_and_an_end_of_the_worker_give_it_back() {
    for threads in THREADS {
        let idle = stand_with(threads, &[mute_worker().await], |config| {
            config.idle_timeout = Duration::from_millis(200);
        });
        let clients = asking(&idle, 0, 2).await;
        until_waiting(&idle.upstreams[0], 0).await;
        drop(clients);
        idle.finish(SOON).await;

        let resets = worker(|mut stream| async move {
            let _ = stream.read(&mut [0; 4]).await;
            pauses(Duration::from_millis(50)).await;
            reset(stream);
        });
        let ends = worker(|mut stream| async move {
            let mut bytes = [0; 4];
            let _ = stream.read_exact(&mut bytes).await;
            pauses(Duration::from_millis(50)).await;
            let _ = stream.shutdown().await;
            // It goes on reading, and says no more: nothing is awaited.
            let _ = read_all(&mut stream).await;
        });
        let stand = stand(threads, &[resets.await, ends.await]);
        for slot in [0, 1] {
            stand.rotate(&[slot]);
            let clients = asking(&stand, slot, 2).await;
            until_waiting(&stand.upstreams[slot], 0).await;
            if slot == 1 {
                eventually_eq!(stand.upstreams[slot].active(), 2, "still open, to say more to who says nothing");
            }
            drop(clients);
        }
        stand.finish(SOON).await;
    }
}

#[tokio::test]
async fn a_worker_that_dies_has_nobody_waiting_and_the_next_one_has_who_was_moved() {
    for threads in THREADS {
        // Killed with answers owed.
        let stand = stand(threads, &[mute_worker().await, echo_worker().await]);
        stand.rotate(&[0]);
        let clients = asking(&stand, 0, 3).await;
        stand.upstreams[0].set_process(killed().await);
        stand.rotate(&[1]);
        stand.upstreams[0].set_ended(false);
        stand.data.worker_exited(0, SlotId(0), 1, Vec::new());
        until_waiting(&stand.upstreams[0], 0).await;
        drop(clients);
        stand.finish(SOON).await;
    }
}

#[tokio::test]
async fn who_is_recovered_from_a_dead_workers_queue_waits_for_the_next_worker() {
    for threads in THREADS {
        // It listens and never accepts; the test holds its listener, as the master does.
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let deaf = Endpoint::Tcp(listener.local_addr().unwrap());
        let (patient, lets) = patient_worker().await;
        let stand = stand(threads, &[deaf, patient]);
        stand.rotate(&[0]);
        let clients = asking(&stand, 0, 3).await;
        stand.upstreams[0].set_process(killed().await);
        stand.rotate(&[1]);
        stand.upstreams[0].set_ended(false);
        let queue: Vec<OwnedFd> =
            std::iter::from_fn(|| listener.accept().ok()).map(|(socket, _)| socket.into()).collect();
        assert_eq!(queue.len(), 3);
        stand.data.worker_exited(0, SlotId(0), 1, queue);
        until_waiting(&stand.upstreams[1], 3).await;
        eventually_eq!(stand.upstreams[0].waiting(), 0);
        lets.add_permits(3);
        for mut client in clients {
            let mut answer = [0; 4];
            within(client.read_exact(&mut answer)).await.unwrap();
        }
        eventually_eq!(stand.upstreams[1].waiting(), 0);
        stand.finish(SOON).await;
    }
}

#[tokio::test]
async fn a_connect_that_fails_leaves_nothing_behind_and_the_next_worker_counts_it() {
    for threads in THREADS {
        let (patient, lets) = patient_worker().await;
        let stand = stand(threads, &[nobody().await, patient]);
        for _ in 0..4 {
            let mut client = stand.connect().await;
            client.write_all(b"ping").await.unwrap();
            until_waiting(&stand.upstreams[1], 1).await;
            eventually_eq!(stand.upstreams[0].waiting(), 0);
            lets.add_permits(1);
            within(client.read_exact(&mut [0; 4])).await.unwrap();
        }
        stand.finish(SOON).await;
    }
}

#[tokio::test]
async fn least_waiting_passes_over_a_worker_that_answers_nobody_and_comes_back_to_it() {
    for threads in THREADS {
        let (patient, lets) = patient_worker().await;
        let stand = stand_with(threads, &[patient, echo_worker().await, echo_worker().await], |config| {
            config.strategy = "least-waiting".to_owned();
        });
        stand.rotate(&[0]);
        let mut stuck = asking(&stand, 0, 1).await.remove(0);
        stand.rotate(&[0, 1, 2]);
        let before = [1, 2].map(|slot| stand.pool.slots()[slot].connections.get());
        for _ in 0..20 {
            drop(stand.spoken().await);
        }
        let given = [1, 2].map(|slot| stand.pool.slots()[slot].connections.get());
        assert_eq!([given[0] - before[0], given[1] - before[1]], [10, 10], "none to slot 0, and the others in turn");
        lets.add_permits(100);
        within(stuck.read_exact(&mut [0; 4])).await.unwrap();
        let before = stand.pool.slots()[0].connections.get();
        for _ in 0..30 {
            drop(stand.spoken().await);
        }
        eventually_eq!(stand.pool.slots()[0].connections.get() - before, 10);
        drop(stuck);
        stand.finish(SOON).await;
    }
}

#[tokio::test]
async fn every_strategy_serves_and_may_be_changed_for_another_while_connections_are_open() {
    for threads in THREADS {
        let stand = stand(threads, &[echo_worker().await, echo_worker().await, nobody().await]);
        let mut open = Vec::new();
        for round in 0..3 {
            for entry in strategy::ALL {
                stand.pool.picker.switch(entry);
                for _ in 0..4 {
                    // One of three workers is not there: whoever is picked first, the client is served.
                    open.push(stand.spoken().await);
                }
                assert_eq!(stand.pool.chosen_by(), entry.name, "round {round}");
            }
        }
        for client in &mut open {
            ping(client).await;
        }
        eventually_eq!(stand.upstreams[0].active() + stand.upstreams[1].active(), open.len());
        drop(open);
        stand.finish(SOON).await;
    }
}

#[tokio::test]
async fn in_least_connections_open_ones_count_whether_they_wait_or_not() {
    for threads in THREADS {
        let stand = stand_with(threads, &[echo_worker().await, echo_worker().await], |config| {
            config.strategy = "least-connections".to_owned();
        });
        let mut open = Vec::new();
        for _ in 0..20 {
            open.push(stand.spoken().await);
        }
        eventually_eq!([0, 1].map(|slot| stand.upstreams[slot].active()), [10, 10]);
        drop(open);
        stand.finish(SOON).await;
    }
}
