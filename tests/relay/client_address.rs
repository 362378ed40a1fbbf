//! PROXY protocol: the worker gets the client's address first and exactly once, whatever happens to the connection.

use std::net::SocketAddr;
use std::time::Duration;

use roundelay::config::{Address, ProxyProtocol};
use roundelay::rotation::{AcceptState, Endpoint};
use roundelay::stats::{ConnectError, Outcome};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};

use crate::kit::*;

const SOON: Duration = Duration::from_secs(20);
const VERSIONS: [ProxyProtocol; 2] = [ProxyProtocol::V1, ProxyProtocol::V2];

/// Returns the header of a client, byte for byte.
fn header(version: ProxyProtocol, client: SocketAddr, public: SocketAddr) -> Vec<u8> {
    let bytes = |ip: std::net::IpAddr| match ip {
        std::net::IpAddr::V4(ip) => ip.octets().to_vec(),
        std::net::IpAddr::V6(ip) => ip.octets().to_vec(),
    };
    let (from, to) = (client.ip(), public.ip());
    let is_v4 = from.is_ipv4();
    match version {
        ProxyProtocol::Off => Vec::new(),
        ProxyProtocol::V1 => {
            let family = if is_v4 { "TCP4" } else { "TCP6" };
            format!("PROXY {family} {from} {to} {} {}\r\n", client.port(), public.port()).into_bytes()
        }
        ProxyProtocol::V2 => {
            let kind: [u8; 4] = if is_v4 { [0x21, 0x11, 0, 12] } else { [0x21, 0x21, 0, 36] };
            let ports = [client.port().to_be_bytes(), public.port().to_be_bytes()].concat();
            [b"\r\n\r\n\0\r\nQUIT\n", &kind[..], &bytes(from), &bytes(to), &ports].concat()
        }
    }
}

fn nobodys_header(version: ProxyProtocol) -> &'static [u8] {
    match version {
        ProxyProtocol::Off => b"",
        ProxyProtocol::V1 => b"PROXY UNKNOWN\r\n",
        ProxyProtocol::V2 => b"\r\n\r\n\0\r\nQUIT\n\x21\0\0\0",
    }
}

fn told(threads: usize, version: ProxyProtocol, endpoints: &[Endpoint], listen: &str) -> Stand {
    stand_with(threads, endpoints, |config| {
        config.proxy_protocol = version;
        config.listen = vec![listen.parse().unwrap()];
    })
}

/// Reads a header of that many bytes and greets. Then sends back the bytes that it receives, the header first.
async fn greet_and_echo(stream: impl AsyncRead + AsyncWrite, header: usize) {
    let (mut from, mut to) = tokio::io::split(stream);
    let mut said = vec![0; header];
    if from.read_exact(&mut said).await.is_ok() {
        let _ = to.write_all(b"welcome ").await;
        let _ = to.write_all(&said).await;
        let _ = tokio::io::copy(&mut from, &mut to).await;
        let _ = to.shutdown().await;
    }
}

#[tokio::test]
async fn header_precedes_client_bytes_over_ipv4_ipv6_and_both() {
    for (listen, host) in [("127.0.0.1:0", "127.0.0.1"), ("[::1]:0", "::1"), ("[::]:0", "127.0.0.1"), ("[::]:0", "::1")]
    {
        for version in VERSIONS {
            for threads in THREADS {
                let stand = told(threads, version, &[echo_worker().await, echo_worker().await], listen);
                let public = SocketAddr::new(host.parse().unwrap(), stand.tcp().port());
                repeat(100, 16, move |i| async move {
                    let client = TcpStream::connect(public).await.unwrap();
                    let header = header(version, client.local_addr().unwrap(), public);
                    let said = text(i, length(i, 200_000));
                    assert_eq!(exchange(client, said).await, [&header, said].concat(), "{listen} {host} {version:?}");
                })
                .await;
                let clients: u64 = (0..100).map(|i| length(i, 200_000) as u64).sum();
                let counted: u64 = stand.pool.slots().iter().map(|slot| slot.rx_bytes.get()).sum();
                assert_eq!(counted, clients, "the master's header is not counted");
                stand.finish(SOON).await;
            }
        }
    }
}

#[tokio::test]
async fn unix_client_has_a_header_without_address() {
    for version in VERSIONS {
        for threads in THREADS {
            let dir = tempfile::tempdir().unwrap();
            let worker = unix_worker(&dir.path().join("worker"), |mut stream| async move {
                let (mut from, mut to) = stream.split();
                let _ = tokio::io::copy(&mut from, &mut to).await;
                let _ = to.shutdown().await;
            });
            let public = dir.path().join("public");
            let stand = told(threads, version, &[worker], &format!("unix:{}", public.display()));
            assert_eq!(stand.address, Address::Unix(public.clone()));
            for i in 0..50 {
                let mut client = UnixStream::connect(&public).await.unwrap();
                let said = text(i, length(i, 100_000));
                let (mut from, mut to) = client.split();
                let (answer, ()) = tokio::join!(async { read_all(&mut from).await.0 }, async {
                    to.write_all(said).await.unwrap();
                    to.shutdown().await.unwrap();
                });
                assert_eq!(answer, [nobodys_header(version), said].concat());
            }
            stand.finish(SOON).await;
        }
    }
}

#[tokio::test]
async fn early_client_bytes_and_header_are_one_write() {
    for version in VERSIONS {
        // Answers with the bytes of its first read, then with the number of all bytes that came.
        let worker = worker(|mut stream| async move {
            let mut first = vec![0; 64 * 1024];
            let n = stream.read(&mut first).await.unwrap();
            let rest = read_all(&mut stream).await.0;
            stream.write_all(&first[..n]).await.unwrap();
            stream.write_all(&u32::try_from(n + rest.len()).unwrap().to_be_bytes()).await.unwrap();
        })
        .await;
        let stand = told(1, version, &[worker], "127.0.0.1:0");
        for len in [1, 1000, 20_000, 300_000] {
            stand.pool.rotation.set_accept_state(AcceptState::Hold);
            let client = stand.connect().await;
            let header = header(version, client.local_addr().unwrap(), stand.tcp());
            let said = text(len, len);
            let waiting = tokio::spawn(exchange(client, said));
            // Gives the client time to send. The promise holds without this pause.
            pauses(Duration::from_millis(20)).await;
            stand.pool.rotation.set_accept_state(AcceptState::Open);
            let answer = within(waiting).await.unwrap();
            let (first, total) = answer.split_at(answer.len() - 4);
            let all = [&header, said].concat();
            assert_eq!(u32::from_be_bytes(total.try_into().unwrap()) as usize, all.len());
            assert_eq!(first, &all[..first.len()]);
            assert!(first.len() > header.len(), "{len}: the header came alone");
            if len <= 20_000 {
                assert_eq!(first, all);
            }
        }
        stand.finish(SOON).await;
    }
}

#[tokio::test]
async fn server_that_speaks_first_gets_the_header_at_once() {
    for version in VERSIONS {
        for threads in THREADS {
            // The length of a version 1 header depends on the ports. The worker reads the shortest possible length.
            let least = if version == ProxyProtocol::V1 { b"PROXY TCP4 ".len() } else { 28 };
            let greets = worker(move |stream| greet_and_echo(stream, least)).await;
            let stand = told(threads, version, &[greets], "127.0.0.1:0");
            for i in 0..50 {
                let mut client = stand.connect().await;
                let header = header(version, client.local_addr().unwrap(), stand.tcp());
                let mut greeting = vec![0; 8 + header.len()];
                within(client.read_exact(&mut greeting)).await.unwrap();
                assert_eq!(greeting, [b"welcome ", &header[..]].concat());
                assert_eq!(exchange(client, text(i, 1000)).await, text(i, 1000));
            }
            eventually_eq!(stand.pool.slots()[0].rx_bytes.get(), 50_000);
            stand.finish(SOON).await;
        }
    }
}

#[tokio::test]
async fn slowly_connecting_worker_gets_the_header_once_connected() {
    for version in VERSIONS {
        let FullQueue { at, listener, waits } = FullQueue::new();
        let stand = stand_with(1, &[Endpoint::Tcp(at)], |config| {
            config.proxy_protocol = version;
            config.connect_timeout = SOON;
            config.dispatch_timeout = SOON;
        });
        let mut client = stand.connect().await;
        let header = header(version, client.local_addr().unwrap(), stand.tcp());
        wait_until("connecting", || stand.upstreams[0].connecting() == 1).await;
        drop(waits);
        let accepting = tokio::task::spawn_blocking(move || {
            drop(listener.accept().unwrap());
            listener.accept().unwrap().0
        });
        let accepted = within(accepting).await.unwrap();
        accepted.set_nonblocking(true).unwrap();
        let mut worker = TcpStream::from_std(accepted).unwrap();
        let mut said = vec![0; header.len()];
        within(worker.read_exact(&mut said)).await.unwrap();
        assert_eq!(said, header);
        eventually_eq!((stand.pool.slots()[0].connections.get(), stand.pool.slots()[0].rx_bytes.get()), (0, 0));
        client.write_all(b"later").await.unwrap();
        client.shutdown().await.unwrap();
        assert_eq!(within(read_all(&mut worker)).await.0, b"later");
        drop(worker);
        within(read_all(&mut client)).await.1.unwrap();
        eventually_eq!(stand.pool.slots()[0].rx_bytes.get(), 5);
        stand.finish(SOON).await;
    }
}

#[tokio::test]
async fn next_worker_gets_one_header_when_the_first_refuses() {
    for version in VERSIONS {
        for threads in THREADS {
            let stand = told(threads, version, &[nobody().await, nobody().await, echo_worker().await], "127.0.0.1:0");
            let at = stand.tcp();
            repeat(200, 16, move |i| async move {
                let client = TcpStream::connect(at).await.unwrap();
                let header = header(version, client.local_addr().unwrap(), at);
                let said = text(i, length(i, 100_000));
                assert_eq!(exchange(client, said).await, [&header, said].concat());
            })
            .await;
            eventually_eq!(stand.pool.slots()[2].connections.get(), 200);
            stand.finish(SOON).await;
        }
    }
}

#[tokio::test]
async fn worker_resetting_after_the_header_is_replaced_unseen() {
    for version in VERSIONS {
        for threads in THREADS {
            let resets_unread = worker(|stream| async move { reset(stream) }).await;
            let resets = worker(|mut stream| async move {
                // Reads as much of the header as there is, which is all of it.
                let _ = stream.read(&mut [0; 200]).await;
                reset(stream);
            })
            .await;
            let stand = told(threads, version, &[resets_unread, resets, echo_worker().await], "127.0.0.1:0");
            let at = stand.tcp();
            repeat(200, 16, move |i| async move {
                let mut client = TcpStream::connect(at).await.unwrap();
                let header = header(version, client.local_addr().unwrap(), at);
                // The client is silent until a worker that keeps the connection has answered.
                let mut said = vec![0; header.len()];
                client.read_exact(&mut said).await.unwrap();
                assert_eq!(said, header);
                assert_eq!(exchange(client, text(i, 1000)).await, text(i, 1000));
            })
            .await;
            for slot in &stand.pool.slots()[..2] {
                eventually!(slot.connect_errors[ConnectError::Reset as usize].get() > 0);
                eventually_eq!((slot.connections.get(), slot.rx_bytes.get()), (0, 0));
            }
            eventually_eq!(
                (stand.pool.slots()[2].connections.get(), stand.pool.slots()[2].rx_bytes.get()),
                (200, 200_000)
            );
            stand.finish(SOON).await;
        }
    }
}

#[tokio::test]
async fn client_sending_during_a_reset_is_served_whole_or_reset() {
    for version in VERSIONS {
        for threads in THREADS {
            let resets = worker(|mut stream| async move {
                let _ = stream.read(&mut [0; 200]).await;
                reset(stream);
            })
            .await;
            let stand = told(threads, version, &[resets, echo_worker().await], "127.0.0.1:0");
            let at = stand.tcp();
            repeat(400, 16, move |i| async move {
                let mut client = TcpStream::connect(at).await.unwrap();
                let header = header(version, client.local_addr().unwrap(), at);
                pauses(Duration::from_micros(fastrand::Rng::with_seed(i as u64).u64(0..400))).await;
                let said = text(i, 1000);
                if client.write_all(said).await.is_err() || client.shutdown().await.is_err() {
                    return;
                }
                let (answer, end) = read_all(&mut client).await;
                match end {
                    Ok(()) => assert_eq!(answer, [&header, said].concat()),
                    Err(_) => assert!(is_reset(&end) && answer.is_empty(), "{end:?} {answer:?}"),
                }
            })
            .await;
            let served = stand.pool.slots()[1].connections.get();
            assert!(served > 0, "{served}");
            wait_until("all counted", || stand.ended(Outcome::Finished) + stand.ended(Outcome::UpstreamReset) == 400)
                .await;
            stand.finish(SOON).await;
        }
    }
}
