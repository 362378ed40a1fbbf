//! Idle timeouts, slow readers, drains and cuts.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use roundelay::config::Address;
use roundelay::rotation::{AcceptState, SlotId, Snapshot};
use roundelay::stats::{Outcome, Rejection};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::kit::*;

const SOON: Duration = Duration::from_secs(20);

#[tokio::test]
async fn silent_connection_ends_by_fin_or_by_reset_if_pending() {
    for threads in THREADS {
        let idle = |config: &mut roundelay::config::PoolConfig| config.idle_timeout = Duration::from_millis(200);
        let answers = stand_with(threads, &[echo_worker().await], idle);
        let mut client = answers.spoken().await;
        within(read_all(&mut client)).await.1.expect("FIN");
        wait_until("counted", || answers.ended(Outcome::Idle) == 1).await;
        answers.finish(SOON).await;

        let owes = stand_with(threads, &[mute_worker().await], idle);
        let mut client = owes.connect().await;
        client.write_all(b"ping").await.unwrap();
        assert!(is_reset(&within(read_all(&mut client)).await.1));
        wait_until("counted", || owes.ended(Outcome::Idle) == 1).await;
        owes.finish(SOON).await;
    }
}

#[tokio::test]
async fn half_closed_connection_has_a_shorter_timeout() {
    for threads in THREADS {
        let stand = stand_with(threads, &[mute_worker().await], |config| {
            config.idle_timeout = Duration::ZERO;
            config.half_closed_timeout = Duration::from_millis(200);
        });
        let mut whole = stand.connect().await;
        whole.write_all(b"ping").await.unwrap();
        let mut half = stand.connect().await;
        half.write_all(b"ping").await.unwrap();
        half.shutdown().await.unwrap();
        assert!(is_reset(&within(read_all(&mut half)).await.1));
        wait_until("counted", || stand.ended(Outcome::Idle) == 1).await;
        wait_until("the other connection has no timeout", || stand.data.open() == 1).await;
        drop(whole);
        stand.finish(SOON).await;
    }
}

#[tokio::test]
async fn slow_reader_stops_the_source_instead_of_filling_memory() {
    const SIZE: usize = 64 << 20;
    const CHUNK: usize = 64 << 10;
    for threads in THREADS {
        let sent = Arc::new(AtomicUsize::new(0));
        let source = {
            let sent = Arc::clone(&sent);
            worker(move |mut stream| {
                let sent = Arc::clone(&sent);
                async move {
                    for i in 0..SIZE / CHUNK {
                        stream.write_all(text(i, CHUNK)).await.unwrap();
                        sent.fetch_add(CHUNK, Ordering::SeqCst);
                    }
                }
            })
            .await
        };
        let stand = stand(threads, &[source]);
        let mut client = stand.connect().await;
        // The source sends until the kernel's buffers are full, and then stops.
        let stalled = within(async {
            loop {
                let before = sent.load(Ordering::SeqCst);
                pauses(Duration::from_millis(300)).await;
                if before > 0 && sent.load(Ordering::SeqCst) == before {
                    return before;
                }
            }
        })
        .await;
        assert!(stalled < SIZE / 2, "{stalled} bytes taken while the client does not read");
        let mut chunk = vec![0; CHUNK];
        for i in 0..SIZE / CHUNK {
            within(client.read_exact(&mut chunk)).await.unwrap();
            assert!(chunk == text(i, CHUNK), "chunk {i}");
        }
        assert_eq!(within(client.read(&mut chunk)).await.unwrap(), 0);
        drop(client);
        wait_until("counted", || stand.pool.slots()[0].tx_bytes.get() == SIZE as u64).await;
        stand.finish(SOON).await;
    }
}

#[tokio::test]
async fn closing_state_serves_the_backlog_and_then_rejects() {
    for threads in THREADS {
        let stand = stand(threads, &[echo_worker().await]);
        stand.pool.rotation.set_accept_state(AcceptState::Hold);
        let at = stand.tcp();
        let mut waiting = Vec::new();
        for i in 0..100 {
            waiting.push(tokio::spawn(exchange(stand.connect().await, text(i, 500))));
        }
        let before = stand.ended(Outcome::Finished);
        let drained = stand.finish(SOON).await;
        assert_eq!((drained.finished, drained.cut, before), (100, 0, 0));
        for (i, client) in waiting.into_iter().enumerate() {
            assert_eq!(within(client).await.unwrap(), text(i, 500));
        }
        assert!(TcpStream::connect(at).await.is_err());
    }
}

#[tokio::test]
async fn closing_state_without_workers_rejects_the_backlog() {
    for threads in THREADS {
        let stand = stand(threads, &[echo_worker().await]);
        stand.pool.rotation.set_accept_state(AcceptState::Hold);
        let pool = Arc::clone(&stand.pool);
        let mut clients = Vec::new();
        for _ in 0..20 {
            clients.push(stand.connect().await);
        }
        stand.pool.rotation.publish(Snapshot::default());
        stand.finish(SOON).await;
        for mut client in clients {
            assert!(is_reset(&within(read_all(&mut client)).await.1));
        }
        eventually_eq!(pool.stats.rejected[Rejection::Shutdown as usize].get(), 20);
    }
}

#[tokio::test]
async fn connections_at_the_drain_deadline_are_ended_and_counted() {
    for threads in THREADS {
        let stand = stand(threads, &[echo_worker().await, mute_worker().await]);
        let (mut idle, mut owed) = (Vec::new(), Vec::new());
        for i in 0..16 {
            // Round robin: every second client gets the worker that never answers.
            if i % 2 == 0 {
                idle.push(stand.spoken().await);
            } else {
                let mut client = stand.connect().await;
                client.write_all(b"ping").await.unwrap();
                owed.push(client);
                wait_until("given", || stand.pool.slots()[1].rx_bytes.get() == 4 * owed.len() as u64).await;
            }
        }
        let ended = Arc::clone(&stand.pool);
        let leaves = idle.pop().unwrap();
        stand.pool.rotation.set_accept_state(AcceptState::Closing);
        drop(leaves);
        let drained = stand.finish(Duration::from_millis(300)).await;
        assert_eq!((drained.closed, drained.cut), (7, 8));
        assert!(drained.finished <= 1);
        let [idle_ends, owed_ends] = [0, 1].map(|slot| Arc::clone(&ended.slots()[slot]));
        eventually_eq!(idle_ends.closes[Outcome::Closed as usize].get(), 7);
        eventually_eq!(owed_ends.closes[Outcome::Cut as usize].get(), 8);
        for client in &mut idle {
            within(read_all(client)).await.1.expect("FIN: no response was pending");
        }
        for client in &mut owed {
            assert!(is_reset(&within(read_all(client)).await.1), "a response was pending");
        }
    }
}

#[tokio::test]
async fn drain_ends_idle_connections_and_waits_for_responses() {
    for threads in THREADS {
        let slow = worker(|mut stream| async move {
            let _ = stream.read_exact(&mut [0; 4]).await;
            pauses(Duration::from_secs(3)).await;
            let _ = stream.write_all(b"late").await;
        })
        .await;
        let stand = stand(threads, &[echo_worker().await, slow]);
        let mut idle = stand.spoken().await;
        let mut owed = stand.connect().await;
        owed.write_all(b"ping").await.unwrap();
        wait_until("given", || stand.pool.slots()[1].rx_bytes.get() == 4).await;
        stand.pool.rotation.set_accept_state(AcceptState::Closing);
        let answer = tokio::spawn(async move { read_all(&mut owed).await });
        let drained = stand.finish(SOON).await;
        assert_eq!((drained.finished, drained.closed, drained.cut), (1, 1, 0));
        within(read_all(&mut idle)).await.1.expect("FIN");
        let (answer, end) = answer.await.unwrap();
        assert_eq!((answer.as_slice(), end.is_ok()), (&b"late"[..], true));
    }
}

#[tokio::test]
async fn abort_of_all_connections_ends_a_drain_at_once() {
    for threads in THREADS {
        let stand = stand(threads, &[echo_worker().await]);
        let clients = [stand.spoken().await, stand.spoken().await];
        stand.pool.rotation.set_accept_state(AcceptState::Closing);
        let far = Instant::now() + Duration::from_secs(3600);
        let (drained, ()) =
            within(async { tokio::join!(stand.data.drain(far), async { stand.data.abort_all() }) }).await;
        assert_eq!((drained.finished, drained.closed, drained.cut), (0, 2, 0));
        drop(clients);
        stand.finish(SOON).await;
    }
}

#[tokio::test]
async fn dead_workers_connections_held_open_elsewhere_are_reset() {
    for threads in THREADS {
        let stand = stand(threads, &[mute_worker().await]);
        let mut client = stand.connect().await;
        client.write_all(b"ping").await.unwrap();
        wait_until("given", || stand.pool.slots()[0].rx_bytes.get() == 4).await;
        stand.data.worker_exited(0, SlotId(0), 2, Vec::new());
        stand.data.worker_exited(0, SlotId(0), 1, Vec::new());
        assert!(is_reset(&within(read_all(&mut client)).await.1));
        wait_until("counted", || stand.ended(Outcome::UpstreamReset) == 1).await;
        stand.finish(SOON).await;
    }
}

#[tokio::test]
async fn bytes_of_a_dead_worker_are_delivered_before_the_end() {
    for threads in THREADS {
        // Most of the answer is in the kernel's buffers when the "process" has ended.
        let says = worker(|mut stream| async move {
            stream.read_exact(&mut [0; 4]).await.unwrap();
            stream.write_all(text(1, 4 << 20)).await.unwrap();
        })
        .await;
        let stand = stand(threads, &[says]);
        let mut client = stand.connect().await;
        client.write_all(b"ping").await.unwrap();
        wait_until("given", || stand.pool.slots()[0].rx_bytes.get() == 4).await;
        let mut answer = vec![0; 4 << 20];
        for chunk in answer.chunks_mut(256 << 10) {
            stand.data.worker_exited(0, SlotId(0), 1, Vec::new());
            within(client.read_exact(chunk)).await.unwrap();
        }
        assert!(answer == text(1, 4 << 20));
        within(read_all(&mut client)).await.1.expect("FIN");
        drop(client);
        stand.finish(SOON).await;
    }
}

/// Starts a worker that sends "half" and ends its side, as the kernel does for a worker that is killed in the middle of
/// an answer.
async fn half_worker() -> roundelay::rotation::Endpoint {
    worker(|mut stream| async move {
        stream.read_exact(&mut [0; 4]).await.unwrap();
        stream.write_all(b"half").await.unwrap();
    })
    .await
}

#[tokio::test]
async fn fin_of_a_worker_that_died_badly_becomes_a_reset() {
    for threads in THREADS {
        for well in [false, true] {
            let stand = stand(threads, &[half_worker().await]);
            stand.upstreams[0].set_process(killed().await);
            let mut client = stand.connect().await;
            client.write_all(b"ping").await.unwrap();
            let mut half = [0; 4];
            within(client.read_exact(&mut half)).await.unwrap();
            // The process is exiting, and its exit status is not known yet. So the relay holds the FIN back.
            let early = tokio::time::timeout(Duration::from_millis(100), client.read(&mut half)).await;
            assert!(early.is_err(), "the end was relayed before the exit status was known: {early:?}");
            stand.upstreams[0].set_ended(well);
            stand.data.worker_exited(0, SlotId(0), 1, Vec::new());
            let end = within(read_all(&mut client)).await.1;
            assert_eq!(is_reset(&end), !well, "{end:?}");
            let outcome = if well { Outcome::Finished } else { Outcome::UpstreamReset };
            drop(client);
            wait_until("counted", || stand.ended(outcome) == 1).await;
            stand.finish(SOON).await;
        }
    }
}

#[tokio::test]
async fn reset_by_a_dying_worker_during_upload_is_no_early_close() {
    for threads in THREADS {
        let dying = worker(|mut stream| async move {
            stream.read_exact(&mut [0; 4]).await.unwrap();
            stream.write_all(b"half").await.unwrap();
            // The kernel sends a reset for the bytes that a killed process had not read.
            reset(stream);
        })
        .await;
        let stand = stand(threads, &[dying]);
        stand.upstreams[0].set_process(killed().await);
        let (mut from, mut to) = stand.connect().await.into_split();
        let uploading = tokio::spawn(async move { while to.write_all(&[b'u'; 4096]).await.is_ok() {} });
        within(from.read_exact(&mut [0; 4])).await.unwrap();
        stand.upstreams[0].set_ended(false);
        stand.data.worker_exited(0, SlotId(0), 1, Vec::new());
        // The client's kernel reports the reset only to the first call that asks, a read or a write, so the test does
        // not check it. The relay knows which end reset the connection.
        let _ = within(read_all(&mut from)).await;
        within(uploading).await.unwrap();
        wait_until("counted as a reset, not as finished", || stand.ended(Outcome::UpstreamReset) == 1).await;
        stand.finish(SOON).await;
    }
}

#[tokio::test]
async fn unix_path_is_removed_when_the_drain_is_over() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("public.sock");
    let stand = stand_with(2, &[echo_worker().await], |config| config.listen = vec![Address::Unix(path.clone())]);
    assert!(path.exists());
    stand.finish(SOON).await;
    assert!(!path.exists());
}
