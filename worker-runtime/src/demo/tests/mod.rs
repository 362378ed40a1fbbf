//! The demo worker over real connections, on a thread of its own.

mod client;
#[cfg(feature = "messages")]
mod handed_over;
mod process;

use std::ffi::OsString;
use std::net::SocketAddr;
use std::thread::JoinHandle;
use std::time::Duration;

use client::Client;
use http_body_util::{BodyExt, Empty};

use super::*;
use crate::protocol::{PORT, ROUNDELAY_POOL, ROUNDELAY_WORKER};
use crate::{Draining, Endpoint};

/// A demo worker on a thread.
struct Demo {
    address: SocketAddr,
    draining: Draining,
    thread: JoinHandle<()>,
}

impl Demo {
    fn start() -> Self {
        let (sender, receiver) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime");
            runtime.block_on(async {
                let lookup = |name: &str| match name {
                    PORT => Some(OsString::from("0")),
                    ROUNDELAY_POOL => Some("demo".into()),
                    ROUNDELAY_WORKER => Some("1".into()),
                    _ => None,
                };
                let worker = Worker::open(&lookup).await.expect("worker");
                let [Endpoint::Tcp(address)] = worker.endpoints().expect("endpoints")[..] else { panic!("tcp") };
                sender.send((address, worker.draining())).expect("sent");
                serve(worker, Router::new("demo/1".to_owned(), Duration::ZERO, compute_threads().expect("threads")))
                    .await
                    .expect("served");
            });
        });
        let (address, draining) = receiver.recv().expect("started");
        Self { address, draining, thread }
    }

    fn client(&self) -> Client {
        Client::connect(self.address)
    }

    fn get(&self, path: &str) -> (u16, String) {
        let answer = self.client().request("GET", path);
        (answer.status, answer.text())
    }

    /// Drains. Returns when every connection has ended.
    fn finish(self) {
        self.draining.begin();
        self.thread.join().expect("the worker ended well");
    }
}

#[test]
fn every_route_answers() {
    let demo = Demo::start();
    let pid = std::process::id();
    assert_eq!(demo.get("/health"), (200, "ok\n".to_owned()));
    assert_eq!(demo.get("/"), (200, format!("hello from demo/1 (pid {pid}), request 1\n")));
    assert_eq!(demo.get("/?x=1"), (200, format!("hello from demo/1 (pid {pid}), request 2\n")));
    assert_eq!(demo.get("/api/100"), (200, "5050".to_owned()));
    assert_eq!(demo.get("/offload/100"), (200, "5050".to_owned()));
    assert_eq!(demo.get("/slow/1"), (200, "waited 1 ms\n".to_owned()));
    assert_eq!(demo.get("/cpu/1"), (200, "computed for 1 ms\n".to_owned()));
    assert_eq!(demo.get("/block/1"), (200, "blocked for 1 ms\n".to_owned()));
    assert_eq!(demo.get("/leak/1000"), (200, "leaked 1000 bytes, 1000 in all\n".to_owned()));
    assert_eq!(demo.get("/leak/24"), (200, "leaked 24 bytes, 1024 in all\n".to_owned()));
    assert_eq!(demo.get("/blob/0"), (200, String::new()));
    let mut client = demo.client();
    let address = client.stream().local_addr().expect("address");
    assert_eq!(client.request("GET", "/client").text(), format!("{address}\n"));
    for path in ["/nowhere", "/api", "/api/1/2x", "/health/1", "//"] {
        let (status, text) = demo.get(path);
        assert_eq!(status, if path == "/api/1/2x" { 400 } else { 404 }, "{path}");
        assert!(status == 400 || text.contains("/offload/:n"), "{path}: {text}");
    }
    demo.finish();
}

#[test]
fn invalid_number_is_refused_with_a_reason() {
    let demo = Demo::start();
    for path in [
        "/api/x",
        "/api/-1",
        "/api/",
        "/offload/1.5",
        "/slow/ten",
        "/cpu/",
        "/block/x",
        "/leak/1k",
        "/blob/99999999999999999999",
    ] {
        let (status, text) = demo.get(path);
        assert_eq!(status, 400, "{path}");
        assert!(text.contains("is not a whole number from 0 to 18446744073709551615"), "{path}: {text}");
    }
    assert_eq!(demo.get("/blob/17179869185").0, 400);
    assert_eq!(demo.get("/leak/18446744073709551615").0, 507);
    let answer = demo.client().request("DELETE", "/");
    assert_eq!((answer.status, answer.header("allow")), (405, Some("GET, HEAD")));
    demo.finish();
}

#[test]
fn head_request_gets_the_length_and_no_body() {
    let demo = Demo::start();
    for (path, length) in [("/health", "3"), ("/api/100", "4"), ("/blob/17179869184", "17179869184")] {
        let answer = demo.client().request("HEAD", path);
        assert_eq!((answer.status, answer.header("content-length")), (200, Some(length)), "{path}");
        assert!(answer.body.is_empty());
    }
    demo.finish();
}

#[test]
fn blob_has_its_length_and_its_pattern() {
    let demo = Demo::start();
    for length in [1_usize, 250, 251, 64_256, 64_257, 1_000_000] {
        let answer = demo.client().request("GET", &format!("/blob/{length}"));
        assert_eq!(answer.body.len(), length);
        assert!(answer.body.iter().enumerate().all(|(i, byte)| usize::from(*byte) == i % 251), "{length}");
    }
    demo.finish();
}

#[test]
fn echo_answers_while_the_request_still_arrives() {
    let demo = Demo::start();
    let mut client = demo.client();
    client.send("POST /echo HTTP/1.1\r\nhost: demo\r\ntransfer-encoding: chunked\r\n\r\n");
    let head = client.head();
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    for chunk in ["5\r\nhello\r\n", "6\r\nworld!\r\n", "0\r\n\r\n"] {
        client.send(chunk);
        assert_eq!(client.bytes(chunk.len()), chunk.as_bytes());
    }
    demo.finish();
}

#[test]
fn half_closing_client_gets_its_answer() {
    let demo = Demo::start();
    let mut client = demo.client();
    client.send("GET /slow/50 HTTP/1.1\r\nhost: demo\r\n\r\n");
    client.stream().shutdown(std::net::Shutdown::Write).expect("shutdown");
    assert!(client.rest().ends_with("waited 50 ms\n"));
    demo.finish();
}

#[test]
fn computation_blocks_its_worker_unless_it_is_offloaded() {
    const LONG: u64 = 400_000_000;
    let demo = Demo::start();
    for (path, blocks) in [("/api", true), ("/offload", false)] {
        let mut long = demo.client();
        long.send(&format!("GET {path}/{LONG} HTTP/1.1\r\nhost: demo\r\n\r\n"));
        assert_eq!(demo.get("/health").0, 200);
        // The answer to the check is here. It came after the long one if the computation blocks, else before it.
        assert_eq!(long.has_answer(), blocks, "{path}");
        assert_eq!(long.answer().text(), (LONG * (LONG + 1) / 2).to_string());
    }
    demo.finish();
}

#[tokio::test]
async fn full_offload_queue_is_answered_with_503_at_once() {
    let offload = Offload::new(NonZeroUsize::MIN, 1).expect("threads");
    let router = Router::new("demo/0".to_owned(), Duration::ZERO, offload.clone());
    let ask = async || {
        let request = hyper::Request::get("/offload/4").body(Empty::<bytes::Bytes>::new()).expect("request");
        router.answer(request, None).await
    };
    assert_eq!(ask().await.status(), 200);

    let (release, gate) = std::sync::mpsc::channel::<()>();
    let (begun, has_begun) = tokio::sync::oneshot::channel();
    let running = tokio::spawn({
        let offload = offload.clone();
        async move { offload.run(move || (begun.send(()), gate.recv().is_ok())).await }
    });
    has_begun.await.expect("it runs");
    let waiting = tokio::spawn(async move { offload.run(|| ()).await });
    tokio::task::yield_now().await;

    let answer = ask().await;
    assert_eq!(answer.status(), 503);
    let text = answer.into_body().collect().await.expect("body").to_bytes();
    assert_eq!(&text[..], b"every compute thread is busy and the queue is full\n");
    drop(release);
    assert_eq!(running.await.expect("joined"), Ok((Ok(()), false)));
    assert_eq!(waiting.await.expect("joined"), Ok(()));
}

#[tokio::test(start_paused = true)]
async fn slow_worker_delays_all_answers_but_health_checks() {
    let delay = Duration::from_millis(50);
    let router = Router::new("demo/1".to_owned(), delay, compute_threads().expect("threads"));
    for (path, expected) in [("/", delay), ("/api/1", delay), ("/health", Duration::ZERO)] {
        let begun = tokio::time::Instant::now();
        let request = hyper::Request::get(path).body(Empty::<bytes::Bytes>::new()).expect("request");
        let answer = router.answer(request, None).await;
        // The clock is paused, so only the delay passes.
        assert_eq!(begun.elapsed().as_millis(), expected.as_millis(), "{path}");
        assert_eq!(answer.headers()["x-worker"], "demo/1");
    }
}

#[test]
fn drain_finishes_open_requests_and_closes_idle_connections() {
    let demo = Demo::start();
    let mut idle = demo.client();
    assert_eq!(idle.request("GET", "/health").status, 200);
    let mut slow = demo.client();
    slow.send("GET /slow/300 HTTP/1.1\r\nhost: demo\r\n\r\n");
    let mut fresh = demo.client();
    // The worker accepts in this order, so an answer here means that the others were accepted.
    assert_eq!(demo.get("/health").0, 200);

    demo.draining.begin();
    fresh.send("GET /health HTTP/1.1\r\nhost: demo\r\n\r\n");
    assert_eq!(idle.rest(), "", "closed without an answer");
    for client in [&mut slow, &mut fresh] {
        let answer = client.answer();
        assert_eq!((answer.status, answer.header("connection")), (200, Some("close")));
        assert_eq!(client.rest(), "");
    }
    let address = demo.address;
    demo.finish();
    assert!(std::net::TcpStream::connect(address).is_err());
}

#[test]
fn kept_client_sending_every_50_ms_is_answered_in_any_drain() {
    const DRAINS: u64 = 20;
    for drain in 0..DRAINS {
        let demo = Demo::start();
        // Some drains begin between two requests, some in the middle of an answer.
        let path = if drain % 2 == 0 { "/" } else { "/slow/20" };
        let mut client = demo.client();
        let asking = std::thread::spawn(move || {
            loop {
                let answer = client.request("GET", path);
                assert_eq!(answer.status, 200);
                if answer.header("connection") == Some("close") {
                    assert_eq!(client.rest(), "");
                    return;
                }
                std::thread::sleep(Duration::from_millis(50));
            }
        });
        std::thread::sleep(Duration::from_micros(60_000 + drain * 50_000 / DRAINS));
        demo.finish();
        asking.join().unwrap_or_else(|_| panic!("drain {drain} lost a request"));
    }
}
