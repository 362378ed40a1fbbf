//! A worker dies with connections in its queue that it never accepted. Another worker answers their clients.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use roundelay::config::{self, ProxyProtocol};
use roundelay::rotation::{Endpoint, SlotId};
use roundelay::stats::Outcome;
use socket2::{Domain, SockAddr, Socket, Type};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use crate::kit::*;

const SOON: Duration = Duration::from_secs(20);
const FAMILIES: [&str; 3] = ["tcp", "dual-stack", "unix"];

/// A worker that listens and never accepts. The test holds its listener, as the master does.
struct Deaf {
    listener: Socket,
    endpoint: Endpoint,
}

impl Deaf {
    fn new(family: &str, dir: &Path) -> Self {
        let (domain, address): (_, SockAddr) = match family {
            "tcp" => (Domain::IPV4, "127.0.0.1:0".parse::<SocketAddr>().unwrap().into()),
            "dual-stack" => (Domain::IPV6, "[::]:0".parse::<SocketAddr>().unwrap().into()),
            _ => (Domain::UNIX, SockAddr::unix(dir.join(format!("{}.sock", fastrand::u64(..)))).unwrap()),
        };
        let listener = Socket::new(domain, Type::STREAM, None).unwrap();
        if family == "dual-stack" {
            listener.set_only_v6(false).unwrap();
        }
        listener.bind(&address).unwrap();
        listener.listen(128).unwrap();
        let bound = listener.local_addr().unwrap();
        let endpoint = match bound.as_socket() {
            Some(at) => Endpoint::Tcp(SocketAddr::from(([127, 0, 0, 1], at.port()))),
            None => Endpoint::Unix(bound.as_pathname().unwrap().to_owned()),
        };
        listener.set_nonblocking(true).unwrap();
        Self { listener, endpoint }
    }

    fn accept(&self) -> OwnedFd {
        self.listener.accept().unwrap().0.into()
    }

    fn queue(&self) -> Vec<OwnedFd> {
        std::iter::from_fn(|| self.listener.accept().ok()).map(|(socket, _)| socket.into()).collect()
    }
}

/// Kills the worker in that slot, and gives the connections in its queue to the others.
async fn die(stand: &Stand, slot: u32, deaf: &Deaf, others: &[usize]) {
    let upstream = &stand.upstreams[slot as usize];
    upstream.set_process(killed().await);
    stand.rotate(others);
    upstream.set_ended(false);
    wait_until("no connect under way", || upstream.connecting() == 0).await;
    stand.data.worker_exited(0, SlotId(slot), 1, deaf.queue());
}

/// Starts a client that sends `length` bytes, ends its side if `ends`, and reads them back with `header` bytes before
/// them.
fn client(stand: &Stand, i: usize, length: usize, ends: bool, header: usize) -> JoinHandle<Vec<u8>> {
    let at = stand.tcp();
    tokio::spawn(async move {
        let (mut from, mut to) = TcpStream::connect(at).await.unwrap().into_split();
        let said = text(i, length);
        let sending = tokio::spawn(async move {
            to.write_all(said).await.unwrap();
            if ends {
                to.shutdown().await.unwrap();
            }
            to
        });
        let mut answer = vec![0; header + said.len()];
        from.read_exact(&mut answer).await.unwrap();
        if ends {
            assert_eq!(from.read(&mut [0]).await.unwrap(), 0, "FIN");
        }
        drop(sending.await.unwrap());
        assert!(answer.ends_with(said), "byte for byte");
        answer.truncate(header);
        answer
    })
}

#[tokio::test]
async fn killed_worker_queue_is_answered_by_another() {
    for threads in THREADS {
        for family in FAMILIES {
            for version in [ProxyProtocol::Off, ProxyProtocol::V1, ProxyProtocol::V2] {
                let dir = tempfile::tempdir().unwrap();
                let deaf = Deaf::new(family, dir.path());
                // The waiting clients hold every permit.
                let stand = stand_with(threads, &[deaf.endpoint.clone(), echo_worker().await], |config| {
                    config.max_connections = Some(5);
                    config.proxy_protocol = version;
                });
                stand.rotate(&[0]);
                let header = match version {
                    ProxyProtocol::Off => 0,
                    // The header is "PROXY TCP4 127.0.0.1 127.0.0.1 PORT PORT\r\n", with ports of five digits.
                    ProxyProtocol::V1 => "PROXY TCP4 127.0.0.1 127.0.0.1".len() + 2 * 6 + 2,
                    ProxyProtocol::V2 => 28,
                };
                let clients: Vec<_> = (0..5).map(|i| client(&stand, i, 1 + 1000 * i, i % 2 == 0, header)).collect();
                wait_until("all sent", || stand.pool.slots()[0].rx_bytes.get() == 5 + 10_000).await;
                die(&stand, 0, &deaf, &[1]).await;
                for client in clients {
                    let told = within(client).await.unwrap();
                    let start: &[u8] = match version {
                        ProxyProtocol::Off => b"",
                        ProxyProtocol::V1 => b"PROXY TCP4 127.0.0.1 127.0.0.1 ",
                        ProxyProtocol::V2 => b"\r\n\r\n\0\r\nQUIT\n\x21\x11",
                    };
                    assert!(told.starts_with(start), "{told:?}");
                }
                wait_until("all have ended", || stand.data.open() == 0).await;
                let stats = &stand.pool.stats;
                eventually_eq!((stats.recovered.get(), stats.accepted.get()), (5, 5), "{family} {version:?}");
                eventually_eq!(stand.ended(Outcome::Finished), 5);
                eventually_eq!(stand.pool.slots()[1].rx_bytes.get(), 5 + 10_000, "the master's header is not counted");
                stand.finish(SOON).await;
            }
        }
    }
}

#[tokio::test]
async fn recovered_upload_continues_after_full_buffers() {
    const SIZE: usize = 6 << 20;
    for threads in THREADS {
        for family in FAMILIES {
            let dir = tempfile::tempdir().unwrap();
            let deaf = Deaf::new(family, dir.path());
            let stand = stand(threads, &[deaf.endpoint.clone(), echo_worker().await]);
            stand.rotate(&[0]);
            let clients: Vec<_> = (0..2).map(|i| client(&stand, i, SIZE, i == 0, 0)).collect();
            wait_until("all connected", || stand.pool.slots()[0].connections.get() == 2).await;
            die(&stand, 0, &deaf, &[1]).await;
            for client in clients {
                within(client).await.unwrap();
            }
            eventually_eq!(stand.pool.stats.recovered.get(), 2, "{family}");
            stand.finish(SOON).await;
        }
    }
}

#[tokio::test]
async fn accepted_connections_are_reset_and_queued_ones_recovered() {
    for threads in THREADS {
        for family in FAMILIES {
            let dir = tempfile::tempdir().unwrap();
            let deaf = Deaf::new(family, dir.path());
            let stand = stand(threads, &[deaf.endpoint.clone(), echo_worker().await]);
            stand.rotate(&[0]);
            let mut taken = Vec::new();
            for _ in 0..2 {
                let mut client = stand.connect().await;
                client.write_all(b"ping").await.unwrap();
                let given = 4 * (taken.len() as u64 + 1);
                wait_until("given", || stand.pool.slots()[0].rx_bytes.get() == given).await;
                taken.push((client, deaf.accept()));
            }
            let [(mut held, holds), (mut closed, closes)] = taken.try_into().unwrap();
            let waits = client(&stand, 3, 5000, true, 0);
            wait_until("given", || stand.pool.slots()[0].rx_bytes.get() == 8 + 5000).await;
            // A process that the worker left behind holds the first one. The worker itself had the second, so the
            // kernel closed it.
            drop(closes);
            die(&stand, 0, &deaf, &[1]).await;
            assert!(is_reset(&within(read_all(&mut held)).await.1), "{family}: held by another process");
            assert!(is_reset(&within(read_all(&mut closed)).await.1), "{family}: died with the worker");
            drop(holds);
            within(waits).await.unwrap();
            wait_until("counted", || stand.ended(Outcome::UpstreamReset) == 2).await;
            eventually_eq!((stand.pool.stats.recovered.get(), stand.ended(Outcome::Finished)), (1, 1));
            stand.finish(SOON).await;
        }
    }
}

#[tokio::test]
async fn bytes_sent_after_the_worker_exited_are_delivered() {
    for threads in THREADS {
        let dir = tempfile::tempdir().unwrap();
        let deaf = Deaf::new("unix", dir.path());
        let stand = stand(threads, &[deaf.endpoint.clone(), echo_worker().await]);
        stand.rotate(&[0]);
        let mut client = stand.connect().await;
        client.write_all(b"ping").await.unwrap();
        wait_until("given", || stand.pool.slots()[0].rx_bytes.get() == 4).await;
        let orphan: std::os::unix::net::UnixStream = deaf.accept().into();
        // Another connection is recovered, so this one is checked, too.
        let waits = self::client(&stand, 3, 5000, true, 0);
        wait_until("given", || stand.pool.slots()[0].rx_bytes.get() == 4 + 5000).await;
        die(&stand, 0, &deaf, &[1]).await;
        std::io::Write::write_all(&mut &orphan, text(7, 1000)).unwrap();
        let mut answer = [0; 1000];
        within(client.read_exact(&mut answer)).await.unwrap();
        assert!(answer == text(7, 1000));
        within(waits).await.unwrap();
        assert!(is_reset(&within(read_all(&mut client)).await.1), "then the connection is silent");
        stand.finish(SOON).await;
    }
}

#[tokio::test]
async fn connection_is_recovered_twice_past_a_refusing_worker() {
    for threads in THREADS {
        for family in FAMILIES {
            let dir = tempfile::tempdir().unwrap();
            let [first, second] = [(); 2].map(|()| Deaf::new(family, dir.path()));
            let endpoints = [first.endpoint.clone(), second.endpoint.clone(), nobody().await, echo_worker().await];
            let v2 = |config: &mut config::PoolConfig| config.proxy_protocol = ProxyProtocol::V2;
            let stand = stand_with(threads, &endpoints, v2);
            stand.rotate(&[0]);
            let clients: Vec<_> = (0..3).map(|i| client(&stand, i, 700, true, 28)).collect();
            wait_until("given", || stand.pool.slots()[0].rx_bytes.get() == 2100).await;
            die(&stand, 0, &first, &[1]).await;
            wait_until("given again", || stand.pool.slots()[1].rx_bytes.get() == 2100).await;
            stand.upstreams[2].set_standing(roundelay::rotation::Standing::Up);
            die(&stand, 1, &second, &[2, 3]).await;
            for client in clients {
                within(client).await.unwrap();
            }
            eventually_eq!(stand.pool.stats.recovered.get(), 6, "{family}");
            stand.finish(SOON).await;
        }
    }
}

#[tokio::test]
async fn silent_client_of_a_dead_worker_moves_unseen() {
    for threads in THREADS {
        for family in FAMILIES {
            for version in [ProxyProtocol::Off, ProxyProtocol::V1] {
                let dir = tempfile::tempdir().unwrap();
                let deaf = Deaf::new(family, dir.path());
                let echo = worker(move |mut stream| async move {
                    // The header is a line, and the client's bytes may come right behind it.
                    while version == ProxyProtocol::V1 && stream.read_u8().await.is_ok_and(|byte| byte != b'\n') {}
                    let (mut from, mut to) = stream.split();
                    let _ = tokio::io::copy(&mut from, &mut to).await;
                })
                .await;
                let endpoints = [deaf.endpoint.clone(), echo];
                let stand = stand_with(threads, &endpoints, |config| config.proxy_protocol = version);
                stand.rotate(&[0]);
                let mut clients = [stand.connect().await, stand.connect().await];
                let upstream = &stand.upstreams[0];
                wait_until("connected", || upstream.active() == 2 && upstream.connecting() == 0).await;
                die(&stand, 0, &deaf, &[1]).await;
                wait_until("moved", || stand.upstreams[1].active() == 2).await;
                for client in &mut clients {
                    ping(client).await;
                }
                drop(clients);
                wait_until("ended", || stand.data.open() == 0).await;
                eventually_eq!(stand.pool.slots()[1].tx_bytes.get(), 8, "{family} {version:?}");
                stand.finish(SOON).await;
            }
        }
    }
}

#[tokio::test]
async fn foreign_connections_in_a_dead_workers_queue_do_no_harm() {
    for threads in THREADS {
        for family in FAMILIES {
            let dir = tempfile::tempdir().unwrap();
            let deaf = Deaf::new(family, dir.path());
            let stand = stand(threads, &[deaf.endpoint.clone(), echo_worker().await]);
            stand.rotate(&[0]);
            // A health probe of ours that waits as well, a probe that has gone, and a client that leaves.
            let to = deaf.listener.local_addr().unwrap();
            let connect = || {
                let socket = Socket::new(to.domain(), Type::STREAM, None).unwrap();
                socket.connect(&to).unwrap();
                socket
            };
            let probe = connect();
            drop(connect());
            let waits = client(&stand, 1, 100, true, 0);
            let mut leaves = stand.connect().await;
            leaves.write_all(b"ping").await.unwrap();
            wait_until("given", || stand.pool.slots()[0].rx_bytes.get() == 104).await;
            reset(leaves);
            wait_until("the client has left", || stand.data.open() == 1).await;
            die(&stand, 0, &deaf, &[1]).await;
            within(waits).await.unwrap();
            eventually_eq!((stand.pool.stats.recovered.get(), stand.ended(Outcome::ClientReset)), (1, 1), "{family}");
            drop(probe);
            stand.finish(SOON).await;
        }
    }
}

#[tokio::test]
async fn recovered_client_waits_until_there_is_a_worker() {
    for threads in THREADS {
        for family in FAMILIES {
            let dir = tempfile::tempdir().unwrap();
            let deaf = Deaf::new(family, dir.path());
            let stand = stand_with(threads, &[deaf.endpoint.clone(), echo_worker().await], |config| {
                config.dispatch_timeout = SOON;
            });
            stand.rotate(&[0]);
            let waits = client(&stand, 1, 3000, true, 0);
            wait_until("given", || stand.pool.slots()[0].rx_bytes.get() == 3000).await;
            die(&stand, 0, &deaf, &[]).await;
            wait_until("taken back", || stand.pool.stats.recovered.get() == 1).await;
            eventually_eq!(Arc::clone(&stand.upstreams[0]).active(), 0);
            stand.rotate(&[1]);
            within(waits).await.unwrap();
            stand.finish(SOON).await;
        }
    }
}
