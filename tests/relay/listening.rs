//! Public listeners and pools that are added and closed while the data threads run.

use std::sync::Arc;
use std::time::Duration;

use roundelay::config::{self, Address, Program};
use roundelay::net::listeners::Listener;
use roundelay::pool::Pool;
use roundelay::rotation::{AcceptState, Snapshot};
use roundelay::stats::Rejection;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};

use crate::kit::*;

const SOON: Duration = Duration::from_secs(20);

fn bind(address: &str) -> Listener {
    Listener::bind(&address.parse().unwrap(), 4096, Duration::ZERO, false).unwrap()
}

/// Checks that no process listens there any more. A process that another test is just forking may hold a socket of ours
/// for a moment.
async fn is_refused(at: std::net::SocketAddr) {
    wait_until("refused", || std::net::TcpStream::connect(at).is_err()).await;
}

fn port(address: &Address) -> std::net::SocketAddr {
    match address {
        Address::Tcp(at) => *at,
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn added_listener_is_served_by_the_same_pool() {
    for threads in THREADS {
        let stand = stand(threads, &[echo_worker().await]);
        let added = bind("127.0.0.1:0");
        let at = port(added.address());
        stand.data.add_public_listener(0, added).unwrap();
        assert_eq!(stand.data.listening(0), [stand.address.clone(), Address::Tcp(at)]);
        for to in [at, stand.tcp()] {
            repeat(50, 10, move |i| async move {
                assert_eq!(exchange(TcpStream::connect(to).await.unwrap(), text(i, 500)).await, text(i, 500));
            })
            .await;
        }
        assert!(stand.data.add_public_listener(1, bind("127.0.0.1:0")).is_err(), "there is no such pool");
        stand.finish(SOON).await;
        is_refused(at).await;
    }
}

#[tokio::test]
async fn closed_listener_serves_its_queue_and_leaves_others_alone() {
    for threads in THREADS {
        let stand = stand(threads, &[echo_worker().await]);
        let added = bind("127.0.0.1:0");
        let other = port(added.address());
        stand.data.add_public_listener(0, added).unwrap();
        let mut open = stand.spoken().await;
        stand.pool.rotation.set_accept_state(AcceptState::Hold);
        let mut waiting = Vec::new();
        for i in 0..100 {
            waiting.push(tokio::spawn(exchange(stand.connect().await, text(i, 500))));
        }
        let closed = stand.data.close_listener(0, &stand.address).unwrap();
        assert!(stand.data.close_listener(0, &stand.address).is_none(), "once");
        assert_eq!(stand.data.listening(0), [Address::Tcp(other)]);
        // The clients wait for a worker as before. The listener can close only when they have one.
        stand.pool.rotation.set_accept_state(AcceptState::Open);
        for (i, client) in waiting.into_iter().enumerate() {
            assert_eq!(within(client).await.unwrap(), text(i, 500));
        }
        within(closed).await;
        is_refused(stand.tcp()).await;
        ping(&mut open).await;
        assert_eq!(exchange(TcpStream::connect(other).await.unwrap(), b"other").await, b"other");
        drop(open);
        stand.finish(SOON).await;
    }
}

#[tokio::test]
async fn closed_listener_rejects_its_queue_while_clients_are_rejected() {
    for threads in THREADS {
        let stand = stand(threads, &[]);
        stand.pool.rotation.set_accept_state(AcceptState::Hold);
        let mut clients = Vec::new();
        for _ in 0..20 {
            clients.push(stand.connect().await);
        }
        let closed = stand.data.close_listener(0, &stand.address).unwrap();
        stand.pool.rotation.set_accept_state(AcceptState::Reject);
        within(closed).await;
        for client in &mut clients {
            assert!(within(read_all(client)).await.0.is_empty());
        }
        // An accept that was in progress when the accept state changed may still take one connection.
        let rejected = stand.pool.stats.rejected[Rejection::NoWorker as usize].get();
        assert!((19..=20).contains(&rejected), "{rejected}");
        stand.finish(SOON).await;
    }
}

#[tokio::test]
async fn closed_unix_listener_loses_its_path_and_serves_its_queue() {
    for threads in THREADS {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("public.sock");
        let stand = stand(threads, &[echo_worker().await]);
        stand.data.add_public_listener(0, bind(&format!("unix:{}", path.display()))).unwrap();
        stand.pool.rotation.set_accept_state(AcceptState::Hold);
        let mut client = UnixStream::connect(&path).await.unwrap();
        client.write_all(b"early").await.unwrap();
        let closed = stand.data.close_listener(0, &Address::Unix(path.clone())).unwrap();
        wait_until("the path is gone", || !path.exists()).await;
        stand.pool.rotation.set_accept_state(AcceptState::Open);
        let mut answer = [0; 5];
        within(client.read_exact(&mut answer)).await.unwrap();
        assert_eq!(&answer, b"early");
        within(closed).await;
        drop(client);
        stand.finish(SOON).await;
    }
}

#[tokio::test]
async fn added_pool_has_its_own_workers_and_leaves_others_alone() {
    for threads in THREADS {
        let greets = worker(|mut stream| async move { stream.write_all(b"welcome").await.unwrap() }).await;
        let first = stand(threads, &[echo_worker().await]);
        let second = stand(threads, &[greets]);
        let listener = bind("127.0.0.1:0");
        let address = listener.address().clone();
        let mut config = config::PoolConfig::new("second", Program::Demo);
        config.listen = vec![address.clone()];
        let pool = Arc::new(Pool::new(config, 1, threads, vec![address.clone()]));
        pool.rotation.publish(Snapshot::new(second.upstreams.clone()));
        pool.rotation.set_accept_state(AcceptState::Open);
        assert_eq!(first.data.add_pool(Arc::clone(&pool), vec![listener]).unwrap(), 1);
        let mut client = TcpStream::connect(port(&address)).await.unwrap();
        assert_eq!(within(read_all(&mut client)).await.0, b"welcome");
        assert_eq!(exchange(first.connect().await, b"ping").await, b"ping");
        drop(client);
        within(first.data.close_listener(1, &address).unwrap()).await;
        is_refused(port(&address)).await;
        wait_until("all have ended", || first.data.open() == 0).await;
        eventually_eq!((pool.stats.accepted.get(), first.pool.stats.accepted.get()), (1, 1));
        first.finish(SOON).await;
        drop(second);
    }
}
