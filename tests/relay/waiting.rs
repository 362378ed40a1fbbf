//! The number of clients that wait for a worker's answer. A client counts from its first byte to the answer's first
//! byte, and stops counting at every kind of end. The other tests here also check at their end that nothing leaks.

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

/// Starts a worker that answers each four bytes when the test permits it.
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
    wait_until(&format!("{count} waiting"), || upstream.waiting() == count).await;
}

/// Opens connections of clients that wait for that slot.
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
async fn client_waits_from_its_bytes_to_the_first_of_the_answer() {
    for threads in THREADS {
        let (endpoint, lets) = patient_worker().await;
        let stand = stand(threads, &[endpoint]);
        let upstream = &stand.upstreams[0];
        let mut client = stand.connect().await;
        wait_until("connected", || upstream.active() == 1 && upstream.connecting() == 0).await;
        assert_eq!(upstream.waiting(), 0, "the client has sent nothing");
        for _ in 0..3 {
            client.write_all(b"ping").await.unwrap();
            until_waiting(upstream, 1).await;
            lets.add_permits(1);
            let mut answer = [0; 4];
            within(client.read_exact(&mut answer)).await.unwrap();
            // The count falls before the client can see the answer, so that the client's next connection finds the
            // worker free.
            assert_eq!(upstream.waiting(), 0, "the connection is open and waits for nothing");
        }
        drop(client);
        stand.finish(SOON).await;
    }
}

#[tokio::test]
async fn ended_connection_waits_no_longer() {
    for threads in THREADS {
        let stand = stand_with(threads, &[mute_worker().await], |config| {
            config.half_closed_timeout = Duration::from_secs(2);
        });
        let upstream = Arc::clone(&stand.upstreams[0]);
        let mut clients = asking(&stand, 0, 6).await;

        reset(clients.pop().unwrap());
        until_waiting(&upstream, 5).await;
        // This client ends its side and still waits, until it was silent for too long.
        let mut half = clients.pop().unwrap();
        half.shutdown().await.unwrap();
        assert!(timeout(Duration::from_millis(50), half.read(&mut [0])).await.is_err());
        assert_eq!(upstream.waiting(), 5);
        until_waiting(&upstream, 4).await;
        assert!(is_reset(&within(read_all(&mut half)).await.1));

        // The others are cut at a drain deadline.
        stand.data.abort(0, SlotId(0), 1);
        until_waiting(&upstream, 0).await;
        // No client was ever answered here, so these ends do not count as losses.
        wait_until("ended", || stand.ended(Outcome::Unanswered) == 4).await;
        drop(clients);
        stand.finish(SOON).await;
    }
}

#[tokio::test]
async fn timeout_reset_and_worker_end_stop_the_waiting() {
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
            // The worker goes on reading and sends no more, so no answer is awaited.
            let _ = read_all(&mut stream).await;
        });
        let stand = stand(threads, &[resets.await, ends.await]);
        for slot in [0, 1] {
            stand.rotate(&[slot]);
            let clients = asking(&stand, slot, 2).await;
            until_waiting(&stand.upstreams[slot], 0).await;
            if slot == 1 {
                eventually_eq!(stand.upstreams[slot].active(), 2, "still open, since the client may send more");
            }
            drop(clients);
        }
        stand.finish(SOON).await;
    }
}

#[tokio::test]
async fn killed_worker_no_longer_counts_waiting_clients() {
    for threads in THREADS {
        // The worker is killed while responses are pending.
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
async fn recovered_client_waits_for_the_next_worker() {
    for threads in THREADS {
        // The worker listens and never accepts. The test holds its listener, as the master does.
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
async fn failed_connect_waits_only_for_the_next_worker() {
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
async fn least_waiting_avoids_a_stuck_worker_until_it_answers() {
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
async fn strategy_can_change_while_connections_are_open() {
    for threads in THREADS {
        let stand = stand(threads, &[echo_worker().await, echo_worker().await, nobody().await]);
        let mut open = Vec::new();
        for round in 0..3 {
            for entry in strategy::ALL {
                stand.pool.picker.switch(entry);
                for _ in 0..4 {
                    // One of the three workers does not exist. The client is served whichever worker is picked first.
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
async fn least_connections_counts_open_connections_that_do_not_wait() {
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
