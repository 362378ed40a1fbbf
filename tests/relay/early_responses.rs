//! Early responses: a worker answers and closes without reading the rest of the request. Its answer arrives whole.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use roundelay::rotation::Endpoint;
use roundelay::stats::Outcome;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::kit::*;

const SOON: Duration = Duration::from_secs(20);
const MIB: usize = 1 << 20;
const STEP: usize = 64 * 1024;

/// Actions of a client besides reading.
#[derive(Clone, Copy, Debug)]
struct Client {
    pauses: bool,
    uploads: bool,
}

const CLIENTS: [Client; 4] = [
    Client { pauses: false, uploads: false },
    Client { pauses: true, uploads: false },
    Client { pauses: false, uploads: true },
    Client { pauses: true, uploads: true },
];

/// Reads a line with a number, answers with that many bytes, and closes without reading the rest.
async fn answers_and_closes(mut stream: impl AsyncRead + AsyncWrite + Unpin) {
    let mut line = Vec::new();
    while !line.ends_with(b"\n") {
        match stream.read_u8().await {
            Ok(byte) => line.push(byte),
            Err(_) => return,
        }
    }
    let size: usize = std::str::from_utf8(&line).unwrap().trim().parse().unwrap();
    let mut left = size;
    while left > 0 {
        let n = left.min(MIB);
        if stream.write_all(text(0, n)).await.is_err() {
            return;
        }
        left -= n;
    }
}

/// Sends a request. Returns the number of received bytes and the end.
async fn ask(at: SocketAddr, size: usize, client: Client) -> (usize, std::io::Result<()>) {
    let mut stream = TcpStream::connect(at).await.unwrap();
    // The worker does not read the bytes behind the line.
    stream.write_all(format!("{size}\n\r\n").as_bytes()).await.unwrap();
    let (mut from, mut to) = stream.into_split();
    let upload = client.uploads.then(|| {
        tokio::spawn(async move {
            let _ = to.write_all(text(1, 2 * MIB)).await;
            to
        })
    });
    if client.pauses {
        pauses(Duration::from_millis(300)).await;
    }
    let (bytes, end) = read_all(&mut from).await;
    drop(upload);
    (bytes.len(), end)
}

#[tokio::test]
async fn early_response_of_any_size_arrives_whole_from_unix() {
    for threads in THREADS {
        let dir = tempfile::tempdir().unwrap();
        let endpoint = unix_worker(&dir.path().join("worker.sock"), answers_and_closes);
        let stand = stand(threads, &[endpoint]);
        let at = stand.tcp();
        for (size, times) in [(10, 64), (100_000, 64), (200_000, 64), (3 * MIB, 24), (10_000_000, 8)] {
            for client in CLIENTS {
                repeat(times, 16, |i| async move {
                    let (received, end) = ask(at, size, client).await;
                    assert_eq!(received, size, "{i}: {client:?}, {end:?}");
                })
                .await;
            }
        }
        stand.finish(SOON).await;
    }
}

#[tokio::test]
async fn early_response_below_a_mib_arrives_whole_from_port() {
    for threads in THREADS {
        let stand = stand(threads, &[worker(answers_and_closes).await]);
        let at = stand.tcp();
        for size in [10, 8_000, 60_000, 200_000, 900_000] {
            for client in CLIENTS {
                repeat(64, 16, |i| async move {
                    let (received, end) = ask(at, size, client).await;
                    assert_eq!(received, size, "{i}: {client:?}, {end:?}");
                })
                .await;
            }
        }
        stand.finish(SOON).await;
    }
}

/// Returns a number of bytes that only the enlarged buffers of a connection hold. On a small machine
/// `net.ipv4.tcp_rmem` limits it.
fn far_ahead() -> u64 {
    let text = std::fs::read_to_string("/proc/sys/net/ipv4/tcp_rmem").unwrap();
    let most: u64 = text.split_whitespace().last().unwrap().parse().unwrap();
    15_000_000.min(most / 4 * 3)
}

/// Starts a worker that reads a line and then writes as much as it is allowed to. It closes when `allowed` does.
/// `written` is the number of bytes that the worker's kernel has taken.
async fn writes_what_is_allowed(written: Arc<AtomicU64>, allowed: watch::Receiver<u64>) -> Endpoint {
    worker(move |mut stream| {
        let (written, mut allowed) = (Arc::clone(&written), allowed.clone());
        async move {
            socket2::SockRef::from(&stream).set_send_buffer_size(256 * 1024).unwrap();
            while stream.read_u8().await.is_ok_and(|byte| byte != b'\n') {}
            loop {
                let so_far = written.load(Ordering::SeqCst);
                let Ok(most) = allowed.wait_for(|most| *most > so_far).await.map(|most| *most) else { return };
                let n = usize::try_from(most - so_far).unwrap().min(STEP);
                tokio::select! {
                    Err(_) = allowed.changed() => return,
                    Ok(n) = stream.write(text(2, n)) => written.fetch_add(n as u64, Ordering::SeqCst),
                    else => return,
                };
            }
        }
    })
    .await
}

#[tokio::test]
async fn worker_with_an_unread_request_may_be_far_ahead() {
    for (threads, unread) in THREADS.into_iter().zip([2, 200_000]) {
        let written = Arc::new(AtomicU64::new(0));
        let (allow, allowed) = watch::channel(0);
        let stand = stand(threads, &[writes_what_is_allowed(Arc::clone(&written), allowed).await]);
        let mut client = stand.connect().await;
        client.write_all(b"go\n").await.unwrap();
        client.write_all(text(3, unread)).await.unwrap();
        let ahead = || written.load(Ordering::SeqCst).saturating_sub(stand.pool.slots()[0].tx_bytes.get());
        // Step by step until the client's socket is full. If the master reads fast, the kernel itself enlarges the
        // buffers.
        loop {
            allow.send_modify(|most| *most += STEP as u64);
            let is_passed_on =
                wait_until("a step is passed on", || written.load(Ordering::SeqCst) == *allow.borrow() && ahead() == 0);
            if timeout(Duration::from_millis(300), is_passed_on).await.is_err() {
                break;
            }
        }
        allow.send_replace(u64::MAX);
        wait_until("far ahead of a client that does not read", || ahead() >= far_ahead()).await;
        drop(allow);
        let (answer, _) = within(read_all(&mut client)).await;
        let sent = written.load(Ordering::SeqCst);
        assert!(answer.len() as u64 + MIB as u64 >= sent, "of {sent}: {}", answer.len());
        stand.finish(SOON).await;
    }
}

#[tokio::test]
async fn paused_client_of_a_gone_worker_holds_no_lease() {
    for threads in THREADS {
        let dir = tempfile::tempdir().unwrap();
        let endpoint = unix_worker(&dir.path().join("worker.sock"), answers_and_closes);
        let stand = stand(threads, &[endpoint]);
        let mut client = stand.connect().await;
        client.write_all(b"3000000\n\r\n").await.unwrap();
        wait_until("all read from the worker", || stand.pool.slots()[0].tx_bytes.get() == 3_000_000).await;
        wait_until("the lease has ended", || stand.upstreams[0].active() == 0).await;
        assert_eq!(stand.data.open(), 1, "the client still counts against the limit");
        assert_eq!(within(read_all(&mut client)).await.0.len(), 3_000_000);
        stand.finish(SOON).await;
    }
}

#[tokio::test]
async fn upload_behind_an_early_response_is_read_to_its_end() {
    for threads in THREADS {
        let stand = stand(threads, &[worker(answers_and_closes).await]);
        let mut client = stand.connect().await;
        client.write_all(b"1000\n").await.unwrap();
        // Longer, and with more bytes, than an earlier version discarded. The pauses leave moments in which no byte is
        // on its way.
        for i in 0..50 {
            within(client.write_all(text(i, 200_000))).await.unwrap();
            pauses(Duration::from_millis(50)).await;
        }
        client.shutdown().await.unwrap();
        let (answer, end) = within(read_all(&mut client)).await;
        assert_eq!(answer.len(), 1000);
        end.expect("FIN: the client was uploading");
        wait_until("counted", || stand.ended(Outcome::Finished) == 1).await;
        stand.finish(SOON).await;
    }
}

#[tokio::test]
async fn stalled_client_of_a_gone_worker_is_given_up() {
    for threads in THREADS {
        let dir = tempfile::tempdir().unwrap();
        let endpoint = unix_worker(&dir.path().join("worker.sock"), answers_and_closes);
        let idle = |config: &mut roundelay::config::PoolConfig| config.idle_timeout = Duration::from_millis(500);
        let stand = stand_with(threads, &[endpoint], idle);
        let mut client = stand.connect().await;
        client.write_all(b"3000000\n\r\n").await.unwrap();
        wait_until("given up", || stand.ended(Outcome::UpstreamReset) + stand.ended(Outcome::Idle) == 1).await;
        assert!(within(read_all(&mut client)).await.1.is_err());
        stand.finish(SOON).await;
    }
}

#[tokio::test]
async fn broken_answer_of_a_killed_worker_is_delivered_then_reset() {
    for threads in THREADS {
        let dir = tempfile::tempdir().unwrap();
        let endpoint: Endpoint = unix_worker(&dir.path().join("worker.sock"), answers_and_closes);
        let stand = stand(threads, &[endpoint]);
        stand.upstreams[0].set_process(killed().await);
        let pool = Arc::clone(&stand.pool);
        let mut client = stand.connect().await;
        client.write_all(b"1500000\n\r\n").await.unwrap();
        wait_until("all read from the worker", || pool.slots()[0].tx_bytes.get() == 1_500_000).await;
        pauses(Duration::from_millis(300)).await;
        let (answer, end) = within(read_all(&mut client)).await;
        assert_eq!(answer.len(), 1_500_000);
        assert!(is_reset(&end), "{end:?}");
        stand.finish(SOON).await;
    }
}
