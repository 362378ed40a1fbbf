//! Both ends in one runtime. The tests that measure time use a paused clock. A paused clock jumps to the next timer
//! also while bytes are on their way, so no test here checks that something happens early.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::Context;

use bytes::Bytes;
use http_body_util::{Either, Full};
use hyper::body::Frame;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::*;

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nhost: worker\r\n\r\n";

/// More bytes than the kernel takes from a writer while the other end does not read.
const LARGE: usize = 8 << 20;

/// A client, and the worker's end of its connection.
struct Pair<S> {
    client: S,
    draining: Draining,
    served: JoinHandle<hyper::Result<()>>,
    /// Sends the next piece of `/pieces`. When it is dropped, the answer ends.
    pieces: Option<mpsc::Sender<Bytes>>,
}

impl Pair<UnixStream> {
    fn new() -> Self {
        let (client, worker) = UnixStream::pair().expect("a pair");
        Self::of(client, worker.into())
    }
}

impl Pair<TcpStream> {
    async fn over_tcp() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
        let client = TcpStream::connect(listener.local_addr().expect("address")).await.expect("connect");
        let (worker, _) = listener.accept().await.expect("accept");
        Self::of(client, worker.into())
    }
}

impl<S: AsyncReadExt + AsyncWriteExt + Unpin> Pair<S> {
    fn of(client: S, stream: Stream) -> Self {
        let (sender, receiver) = mpsc::channel(1);
        let receiver = std::sync::Mutex::new(Some(receiver));
        let service = service_fn(move |request: Request<Incoming>| {
            let body = match request.uri().path() {
                "/pieces" => Either::Right(Pieces(receiver.lock().expect("lock").take().expect("asked once"))),
                "/large" => Either::Left(Full::new(Bytes::from(vec![b'x'; LARGE]))),
                _ => Either::Left(Full::new(Bytes::from_static(b"hello"))),
            };
            async move { Ok::<_, Infallible>(Response::new(body)) }
        });
        let draining = Draining::default();
        let served = tokio::spawn(serve(stream, draining.clone(), service));
        Self { client, draining, served, pieces: Some(sender) }
    }

    async fn send(&mut self, bytes: &[u8]) {
        self.client.write_all(bytes).await.expect("sent");
    }

    async fn head(&mut self) -> String {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(self.client.read_u8().await.expect("a head"));
        }
        String::from_utf8(head).expect("text")
    }

    async fn bytes(&mut self, expected: &[u8]) {
        let mut bytes = vec![0; expected.len()];
        self.client.read_exact(&mut bytes).await.expect("bytes");
        assert_eq!(bytes, expected);
    }

    /// Reads the answer to [`REQUEST`]. Returns true if the answer says that it is the last one.
    async fn is_last_answer(&mut self) -> bool {
        let head = self.head().await;
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        self.bytes(b"hello").await;
        head.contains("connection: close")
    }

    /// Waits until the worker ends the connection without another byte. Returns the time that this took.
    async fn end(mut self) -> Duration {
        let begun = Instant::now();
        let mut rest = Vec::new();
        self.client.read_to_end(&mut rest).await.expect("an end, and no reset");
        assert_eq!(String::from_utf8_lossy(&rest), "");
        let waited = begun.elapsed();
        drop(self.client);
        self.served.await.expect("joined").expect("served");
        waited
    }
}

/// A body with pieces that the test sends.
struct Pieces(mpsc::Receiver<Bytes>);

impl Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(context).map(|piece| piece.map(|piece| Ok(Frame::data(piece))))
    }
}

#[tokio::test(start_paused = true)]
async fn draining_worker_closes_quiet_connection_after_a_second() {
    for requests in 0..3 {
        let mut pair = Pair::new();
        for _ in 0..requests {
            pair.send(REQUEST).await;
            assert!(!pair.is_last_answer().await);
        }
        sleep(Duration::from_secs(3600)).await;
        pair.draining.begin();
        let waited = pair.end().await;
        assert!((QUIET..QUIET * 4).contains(&waited), "{waited:?} after {requests} requests");
    }
}

#[tokio::test(start_paused = true)]
async fn next_request_of_a_kept_connection_is_answered_as_the_last() {
    for requests in 0..2 {
        for pause in [0, 1, 500, 999] {
            let mut pair = Pair::new();
            for _ in 0..requests {
                pair.send(REQUEST).await;
                assert!(!pair.is_last_answer().await);
            }
            pair.draining.begin();
            sleep(Duration::from_millis(pause)).await;
            pair.send(REQUEST).await;
            assert!(pair.is_last_answer().await, "after {pause} ms");
            pair.end().await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn open_answer_is_finished_and_the_next_request_answered() {
    let mut pair = Pair::new();
    pair.send(b"GET /pieces HTTP/1.1\r\nhost: worker\r\n\r\n").await;
    assert!(!pair.head().await.contains("connection: close"), "the worker does not drain yet");
    pair.draining.begin();
    sleep(Duration::from_secs(3600)).await;
    let pieces = pair.pieces.take().expect("a sender");
    pieces.send(Bytes::from_static(b"piece")).await.expect("taken");
    pair.bytes(b"5\r\npiece\r\n").await;
    sleep(Duration::from_secs(3600)).await;
    drop(pieces);
    pair.bytes(b"0\r\n\r\n").await;
    sleep(QUIET / 2).await;
    pair.send(REQUEST).await;
    assert!(pair.is_last_answer().await);
    pair.end().await;
}

#[tokio::test(start_paused = true)]
async fn slow_reader_gets_its_whole_answer() {
    let mut pair = Pair::new();
    pair.send(b"GET /large HTTP/1.1\r\nhost: worker\r\n\r\n").await;
    assert!(!pair.head().await.contains("connection: close"));
    pair.draining.begin();
    sleep(Duration::from_secs(3600)).await;
    pair.bytes(&vec![b'x'; LARGE]).await;
    pair.end().await;
}

#[tokio::test(start_paused = true)]
async fn begun_request_is_waited_for_until_it_stalls() {
    let (first, rest) = REQUEST.split_at(9);
    let mut pair = Pair::new();
    pair.draining.begin();
    pair.send(first).await;
    sleep(STALLED - QUIET).await;
    pair.send(rest).await;
    assert!(pair.is_last_answer().await);
    pair.end().await;

    let mut pair = Pair::new();
    pair.draining.begin();
    pair.send(first).await;
    let begun = Instant::now();
    // hyper answers half a request with nothing, or with 400.
    let mut told = Vec::new();
    pair.client.read_to_end(&mut told).await.expect("an end");
    assert!(told.is_empty() || told.starts_with(b"HTTP/1.1 400"), "{}", String::from_utf8_lossy(&told));
    assert!((STALLED..STALLED * 2).contains(&begun.elapsed()), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn last_answer_survives_a_client_that_goes_on_sending() {
    // Without the linger most of these answers are lost, but not all.
    for is_draining in [true, false].repeat(5) {
        let mut pair = Pair::over_tcp().await;
        if is_draining {
            pair.draining.begin();
        }
        // If the worker does not drain, the client itself asks to close, but goes on sending.
        let close = if is_draining { "" } else { "connection: close\r\n" };
        pair.send(format!("GET /large HTTP/1.1\r\nhost: worker\r\n{close}\r\n").as_bytes()).await;
        assert!(pair.head().await.contains("connection: close"));
        pair.send(&REQUEST.repeat(1500)).await;
        pair.bytes(&vec![b'x'; LARGE]).await;
        pair.end().await;
    }
}

#[tokio::test]
async fn closed_client_ends_the_connection_without_linger() {
    let mut pair = Pair::over_tcp().await;
    pair.draining.begin();
    pair.send(REQUEST).await;
    assert!(pair.is_last_answer().await);
    drop(pair.client);
    tokio::time::timeout(Duration::from_secs(20), pair.served)
        .await
        .expect("in time")
        .expect("joined")
        .expect("served");
}
