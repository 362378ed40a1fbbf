//! At the limit of connections, silent clients do not keep new clients out.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use roundelay::stats::{Outcome, Rejection};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use crate::kit::*;

const SOON: Duration = Duration::from_secs(20);

#[tokio::test]
async fn oldest_silent_connection_makes_room_for_a_new_client() {
    for threads in THREADS {
        let stand = stand_with(threads, &[echo_worker().await], |config| config.max_connections = Some(4));
        let mut silent = Vec::new();
        for count in 1..=3 {
            silent.push(stand.connect().await);
            wait_until("accepted", || stand.data.open() == count).await;
            // The age of a connection is measured in steps of this length.
            pauses(Duration::from_millis(200)).await;
        }
        let mut spoken = stand.spoken().await;
        let mut new = stand.connect().await;
        ping(&mut new).await;
        // Each data thread reclaims only connections of its own.
        eventually!((1..=threads as u64).contains(&stand.ended(Outcome::Reclaimed)));
        if threads == 1 {
            let first = silent.remove(0);
            assert_eq!(within(read_all(&mut { first })).await.1.map_err(|error| error.kind()), Ok(()));
            for client in &mut silent {
                ping(client).await;
            }
        }
        ping(&mut spoken).await;
        drop((silent, spoken, new));
        stand.finish(SOON).await;
    }
}

#[tokio::test]
async fn connection_that_carried_a_byte_is_not_reclaimed() {
    for threads in THREADS {
        let stand = stand_with(threads, &[echo_worker().await], |config| config.max_connections = Some(2));
        let mut spoken = [stand.spoken().await, stand.spoken().await];
        let mut new = stand.connect().await;
        new.write_all(b"ping").await.unwrap();
        let mut answer = [0; 4];
        assert!(timeout(Duration::from_secs(3), new.read(&mut answer)).await.is_err(), "the new client waits");
        for client in &mut spoken {
            ping(client).await;
        }
        drop(spoken);
        within(new.read_exact(&mut answer)).await.unwrap();
        eventually_eq!(stand.ended(Outcome::Reclaimed), 0);
        drop(new);
        stand.finish(SOON).await;
    }
}

#[tokio::test]
async fn crowd_of_silent_clients_locks_nobody_out() {
    for threads in THREADS {
        let stand = stand_with(threads, &[echo_worker().await], |config| config.max_connections = Some(20));
        let mut silent = Vec::new();
        for _ in 0..60 {
            silent.push(stand.connect().await);
        }
        for _ in 0..10 {
            let mut client = stand.connect().await;
            ping(&mut client).await;
        }
        eventually!(stand.ended(Outcome::Reclaimed) > 0);
        drop(silent);
        stand.finish(SOON).await;
    }
}

/// Connects a client from that address of this machine.
async fn from(ip: Ipv4Addr, to: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::new(IpAddr::V4(ip), 0)).unwrap();
    socket.connect(to).await.unwrap()
}

#[tokio::test]
async fn source_address_has_no_more_than_its_bound() {
    for threads in THREADS {
        let stand = stand_with(threads, &[echo_worker().await], |config| config.max_connections_per_source = Some(2));
        let mut held = [stand.spoken().await, stand.spoken().await];
        // The reset may arrive before the connect has returned successfully.
        let end = match TcpStream::connect(stand.tcp()).await {
            Ok(mut third) => within(read_all(&mut third)).await.1,
            Err(error) => Err(error),
        };
        assert!(is_reset(&end), "{end:?}");
        eventually_eq!(stand.pool.stats.rejected[Rejection::PerSource as usize].get(), 1);
        let mut other = from(Ipv4Addr::new(127, 0, 0, 2), stand.tcp()).await;
        ping(&mut other).await;
        for client in &mut held {
            ping(client).await;
        }
        drop(held);
        wait_until("their ends", || stand.data.open() == 1).await;
        let mut again = stand.spoken().await;
        ping(&mut again).await;
        drop((again, other));
        stand.finish(SOON).await;
    }
}
