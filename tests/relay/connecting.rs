//! The choice of the worker for a connection, and workers that cannot be reached.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use roundelay::dispatch::UpstreamReport;
use roundelay::rotation::{AcceptState, SlotId, Snapshot};
use roundelay::stats::{ConnectError, Outcome, Rejection};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::kit::*;

const SOON: Duration = Duration::from_secs(20);

#[tokio::test]
async fn round_robin_spreads_1200_connections_evenly_over_3_workers() {
    for threads in THREADS {
        let stand = stand(threads, &[echo_worker().await, echo_worker().await, echo_worker().await]);
        let at = stand.tcp();
        repeat(1200, 32, |i| async move {
            assert_eq!(exchange(TcpStream::connect(at).await.unwrap(), text(i, 100)).await, text(i, 100));
        })
        .await;
        let counts: Vec<u64> = stand.pool.slots().iter().map(|slot| slot.connections.get()).collect();
        assert_eq!(counts, [400, 400, 400]);
        stand.finish(SOON).await;
    }
}

#[tokio::test]
async fn refusing_worker_is_passed_over_unseen_by_the_client() {
    for threads in THREADS {
        let mut stand = stand(threads, &[nobody().await, echo_worker().await]);
        let at = stand.tcp();
        repeat(400, 32, |i| async move {
            assert_eq!(exchange(TcpStream::connect(at).await.unwrap(), text(i, 100)).await, text(i, 100));
        })
        .await;
        let [dead, live] = [0, 1].map(|slot| Arc::clone(&stand.pool.slots()[slot]));
        let failed = dead.connect_errors[ConnectError::Refused as usize].get();
        // A second pick takes a turn, too, so the dead worker's share is not exactly half.
        assert!((1..=400).contains(&failed), "{failed}");
        eventually_eq!((dead.retries.get(), dead.connections.get(), live.connections.get()), (failed, 0, 400));
        let expected =
            UpstreamReport::ConnectFailed { pool: 0, slot: SlotId(0), incarnation: 1, error: ConnectError::Refused };
        for _ in 0..failed {
            assert_eq!(stand.reports.recv().await, Some(expected.clone()));
        }
        stand.finish(SOON).await;
    }
}

#[tokio::test]
async fn worker_resetting_before_any_byte_is_replaced_unseen() {
    for threads in THREADS {
        let resets = worker(|stream| async move { reset(stream) }).await;
        let greets = worker(|mut stream| async move { stream.write_all(b"welcome").await.unwrap() }).await;
        let stand = stand(threads, &[resets, greets]);
        let at = stand.tcp();
        repeat(400, 32, |_| async move {
            let mut client = TcpStream::connect(at).await.unwrap();
            let (greeting, end) = read_all(&mut client).await;
            assert_eq!(greeting, b"welcome");
            end.unwrap();
        })
        .await;
        let slot = &stand.pool.slots()[0];
        eventually!(slot.retries.get() > 0);
        eventually_eq!(slot.connect_errors[ConnectError::Reset as usize].get(), slot.retries.get());
        stand.finish(SOON).await;
    }
}

#[tokio::test]
async fn full_unix_queue_is_busy_and_another_worker_serves() {
    for threads in THREADS {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("busy.sock");
        let full = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None).unwrap();
        full.bind(&socket2::SockAddr::unix(&path).unwrap()).unwrap();
        full.listen(0).unwrap();
        let _waits = std::os::unix::net::UnixStream::connect(&path).unwrap();
        let stand = stand(threads, &[roundelay::rotation::Endpoint::Unix(path), echo_worker().await]);
        let at = stand.tcp();
        repeat(100, 16, |i| async move {
            assert_eq!(exchange(TcpStream::connect(at).await.unwrap(), text(i, 100)).await, text(i, 100));
        })
        .await;
        eventually!(stand.pool.slots()[0].connect_errors[ConnectError::Busy as usize].get() > 0);
        stand.finish(SOON).await;
    }
}

#[tokio::test]
async fn unanswered_connect_is_given_up_after_the_timeout() {
    for threads in THREADS {
        let full = FullQueue::new();
        let endpoints = [roundelay::rotation::Endpoint::Tcp(full.at), echo_worker().await];
        let stand = stand_with(threads, &endpoints, |config| config.connect_timeout = Duration::from_millis(100));
        let at = stand.tcp();
        repeat(20, 20, |i| async move {
            assert_eq!(exchange(TcpStream::connect(at).await.unwrap(), text(i, 100)).await, text(i, 100));
        })
        .await;
        eventually!(stand.pool.slots()[0].connect_errors[ConnectError::Timeout as usize].get() > 0);
        stand.finish(SOON).await;
    }
}

#[tokio::test]
async fn client_is_reset_in_time_if_no_worker_can_be_reached() {
    for threads in THREADS {
        let endpoints = [nobody().await, nobody().await];
        let stand = stand_with(threads, &endpoints, |config| config.dispatch_timeout = Duration::from_millis(200));
        let at = stand.tcp();
        repeat(50, 25, |i| async move {
            let mut client = TcpStream::connect(at).await.unwrap();
            client.write_all(text(i, 100)).await.unwrap();
            let (answer, end) = read_all(&mut client).await;
            assert!(answer.is_empty() && is_reset(&end), "{end:?}");
        })
        .await;
        wait_until("all counted", || stand.pool.stats.unassigned[Outcome::Unreachable as usize].get() == 50).await;
        stand.finish(SOON).await;
    }
}

#[tokio::test]
async fn client_without_worker_waits_for_one_and_loses_no_byte() {
    for threads in THREADS {
        let stand = stand(threads, &[echo_worker().await]);
        stand.pool.rotation.publish(Snapshot::default());
        let client = stand.connect().await;
        let waiting = tokio::spawn(exchange(client, text(3, 5000)));
        wait_until("accepted", || stand.pool.stats.accepted.get() == 1).await;
        stand.pool.rotation.publish(Snapshot::new(stand.upstreams.clone()));
        assert_eq!(within(waiting).await.unwrap(), text(3, 5000));
        stand.finish(SOON).await;
    }
}

#[tokio::test]
async fn client_is_reset_at_the_deadline_if_rotation_is_empty() {
    for threads in THREADS {
        let stand = stand_with(threads, &[], |config| config.dispatch_timeout = Duration::from_millis(100));
        let (answer, end) = within(read_all(&mut stand.connect().await)).await;
        assert!(answer.is_empty() && is_reset(&end), "{end:?}");
        wait_until("counted", || stand.pool.stats.unassigned[Outcome::NoUpstream as usize].get() == 1).await;
        stand.finish(SOON).await;
    }
}

#[tokio::test]
async fn held_clients_wait_in_the_backlog_and_are_answered_later() {
    for threads in THREADS {
        let stand = stand(threads, &[echo_worker().await]);
        stand.pool.rotation.set_accept_state(AcceptState::Hold);
        // An accept that was in progress when the accept state changed may still take one connection.
        let first = exchange(stand.connect().await, b"first");
        let waiting: Vec<_> = {
            let mut waiting = Vec::new();
            for i in 0..20 {
                waiting.push(tokio::spawn(exchange(stand.connect().await, text(i, 500))));
            }
            waiting
        };
        assert!(stand.pool.stats.accepted.get() <= 1);
        stand.pool.rotation.set_accept_state(AcceptState::Open);
        assert_eq!(within(first).await, b"first");
        for (i, client) in waiting.into_iter().enumerate() {
            assert_eq!(within(client).await.unwrap(), text(i, 500));
        }
        stand.finish(SOON).await;
    }
}

#[tokio::test]
async fn rejected_clients_are_reset_and_counted() {
    for threads in THREADS {
        let stand = stand(threads, &[echo_worker().await]);
        stand.pool.rotation.set_accept_state(AcceptState::Reject);
        let at = stand.tcp();
        repeat(50, 10, |_| async move {
            // The reset may come before connect has returned. The kernel reports it only once, to the first call that
            // asks.
            if let Ok(mut client) = TcpStream::connect(at).await {
                assert!(within(read_all(&mut client)).await.0.is_empty());
            }
        })
        .await;
        eventually_eq!(stand.pool.stats.rejected[Rejection::NoWorker as usize].get(), 50);
        stand.pool.rotation.set_accept_state(AcceptState::Open);
        assert_eq!(exchange(stand.connect().await, b"again").await, b"again");
        stand.finish(SOON).await;
    }
}

#[tokio::test]
async fn clients_above_the_limit_wait_and_are_served_later() {
    for threads in THREADS {
        let most = Arc::new(AtomicUsize::new(0));
        let now = Arc::new(AtomicUsize::new(0));
        let counts = {
            let (most, now) = (Arc::clone(&most), Arc::clone(&now));
            worker(move |mut stream| {
                let (most, now) = (Arc::clone(&most), Arc::clone(&now));
                async move {
                    most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    let mut request = [0; 100];
                    stream.read_exact(&mut request).await.unwrap();
                    tokio::task::yield_now().await;
                    // Counts down before the answer: the relay ends after the answer, and only then the next client may
                    // come.
                    now.fetch_sub(1, Ordering::SeqCst);
                    stream.write_all(&request).await.unwrap();
                }
            })
            .await
        };
        let stand = stand_with(threads, &[counts], |config| config.max_connections = Some(2));
        let at = stand.tcp();
        repeat(200, 40, |i| async move {
            assert_eq!(exchange(TcpStream::connect(at).await.unwrap(), text(i, 100)).await, text(i, 100));
        })
        .await;
        assert!((1..=2).contains(&most.load(Ordering::SeqCst)), "{most:?} at once");
        stand.finish(SOON).await;
    }
}

#[tokio::test]
async fn limit_of_one_connection_serves_every_listener() {
    // A loop that kept a permit while it waited for a client would starve the other listeners.
    let stand = stand_with(2, &[echo_worker().await], |config| config.max_connections = Some(1));
    for i in 0..50 {
        assert_eq!(within(exchange(stand.connect().await, text(i, 10))).await, text(i, 10));
    }
    stand.finish(SOON).await;
}

#[tokio::test]
async fn health_check_that_only_connects_ends_cleanly() {
    for threads in THREADS {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = roundelay::rotation::Endpoint::Tcp(listener.local_addr().unwrap());
        let stand = stand(threads, &[endpoint]);
        drop(stand.connect().await);
        let (mut stream, _) = within(listener.accept()).await.unwrap();
        let (bytes, end) = within(read_all(&mut stream)).await;
        assert!(bytes.is_empty() && end.is_ok(), "{end:?}");
        drop(stream);
        wait_until("counted", || stand.ended(Outcome::Finished) == 1).await;
        stand.finish(SOON).await;
    }
}

#[tokio::test]
async fn silent_client_is_moved_when_its_worker_resets() {
    for threads in THREADS {
        let leaving = worker(|stream| async move {
            pauses(Duration::from_millis(1500)).await;
            reset(stream);
        })
        .await;
        let short = |config: &mut roundelay::config::PoolConfig| config.dispatch_timeout = Duration::from_millis(500);
        let stand = stand_with(threads, &[leaving, echo_worker().await], short);
        let mut client = stand.connect().await;
        wait_until("moved", || stand.pool.slots()[0].retries.get() == 1).await;
        client.write_all(b"ping").await.unwrap();
        let mut answer = [0; 4];
        within(client.read_exact(&mut answer)).await.unwrap();
        assert_eq!(&answer, b"ping");
        drop(client);
        stand.finish(SOON).await;
    }
}
