//! The answer of each route. Independent of sockets and of the environment.

use std::fmt::Display;
use std::io::Write;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{Either, Full};
use hyper::body::Body;
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderName, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};

use super::blob::{Blob, Pattern};
use super::leak::Leaked;
use super::work;
use crate::Offload;

/// The longest pause that a request may ask for: waiting, computing or blocking.
const MAX_PAUSE: Duration = Duration::from_secs(60);

/// The header of each answer that names the worker.
const WORKER: HeaderName = HeaderName::from_static("x-worker");

/// The largest blob: 16 GiB.
const MAX_BLOB: u64 = 16 << 30;

const USAGE: &str = "\
no such page. This is Roundelay's demo worker; it knows
  /             which worker answers
  /api/:n       sums 0 to n; a large n blocks this worker
  /offload/:n   the same on another thread: does not block
  /slow/:ms     waits
  /cpu/:ms      computes; blocks this worker
  /block/:ms    sleeps; blocks this worker without using CPU
  /blob/:bytes  that many bytes
  /leak/:bytes  keeps that much more memory for ever
  /client       your address as this worker sees it
  /echo         sends the request body back
  /crash        ends this worker with exit code 1
  /hang         blocks this worker for ever
  /health       200
its environment may hold
  DEMO_IGNORE_TERM=1   does not react to SIGTERM
  DEMO_START_DELAY=ms  waits before it listens
  DEMO_FAIL_START=1    exits with 3 before it is ready
  DEMO_SLOW=slot:ms    that worker answers so much later
";

/// The body of an answer: text, a blob, or (`B`) the request's own body.
pub(super) type Answer<B> = Response<Either<Full<Bytes>, Either<Blob, B>>>;

/// Answers the requests of one worker.
#[derive(Debug)]
pub(super) struct Router {
    /// Pool and slot, such as `demo/1`.
    name: String,
    /// The name as the value of that header; `None` for a name that no header can hold.
    header: Option<HeaderValue>,
    /// The delay of this worker's answers, in comparison with other workers.
    delay: Duration,
    /// The number of requests so far, without health checks.
    requests: AtomicU64,
    offload: Offload,
    pattern: Pattern,
    leaked: Leaked,
}

impl Router {
    pub(super) fn new(name: String, delay: Duration, offload: Offload) -> Self {
        let header = HeaderValue::from_str(&name).ok();
        Self {
            name,
            header,
            delay,
            requests: AtomicU64::new(0),
            offload,
            pattern: Pattern::new(),
            leaked: Leaked::default(),
        }
    }

    /// Answers one request of `client`, which is `None` on a unix socket. `/crash` and `/hang` do not return.
    pub(super) async fn answer<B: Body>(&self, request: Request<B>, client: Option<SocketAddr>) -> Answer<B> {
        if !self.delay.is_zero() && request.uri().path() != "/health" {
            tokio::time::sleep(self.delay).await;
        }
        let mut answer = self.routed(request, client).await;
        if let Some(name) = &self.header {
            answer.headers_mut().insert(WORKER, name.clone());
        }
        answer
    }

    async fn routed<B: Body>(&self, request: Request<B>, client: Option<SocketAddr>) -> Answer<B> {
        let (head, body) = request.into_parts();
        let mut parts = head.uri.path().splitn(3, '/').skip(1);
        let route = (parts.next().unwrap_or_default(), parts.next());
        if route == ("echo", None) {
            return echo(head.headers.get(CONTENT_TYPE), body);
        }
        if head.method != Method::GET && head.method != Method::HEAD {
            let mut answer = text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD, except for /echo\n");
            answer.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return answer;
        }
        if route == ("health", None) {
            return ok("ok\n");
        }
        let number = self.requests.fetch_add(1, Ordering::Relaxed) + 1;
        match route {
            ("", None) => ok(format!("hello from {} (pid {}), request {number}\n", self.name, std::process::id())),
            ("api", Some(n)) => parsed(n, |n| ok(work::sum(n).to_string())),
            ("offload", Some(n)) => match n.parse() {
                Ok(n) => self.offloaded(n).await,
                Err(_) => not_a_number(n),
            },
            ("slow", Some(ms)) => match ms.parse() {
                Ok(ms) => {
                    let pause = pause(ms);
                    tokio::time::sleep(pause).await;
                    ok(format!("waited {} ms\n", pause.as_millis()))
                }
                Err(_) => not_a_number(ms),
            },
            ("block", Some(ms)) => parsed(ms, |ms| {
                let pause = pause(ms);
                std::thread::sleep(pause);
                ok(format!("blocked for {} ms\n", pause.as_millis()))
            }),
            ("leak", Some(bytes)) => parsed(bytes, |bytes| self.leak(bytes)),
            ("cpu", Some(ms)) => parsed(ms, |ms| {
                let pause = pause(ms);
                work::spin(pause);
                ok(format!("computed for {} ms\n", pause.as_millis()))
            }),
            ("blob", Some(bytes)) => parsed(bytes, |bytes| self.blob(bytes)),
            ("client", None) => ok(client.map_or("no address\n".to_owned(), |address| format!("{address}\n"))),
            ("crash", None) => self.crash(),
            ("hang", None) => self.hang(),
            _ => text(StatusCode::NOT_FOUND, USAGE),
        }
    }

    async fn offloaded<B>(&self, n: u64) -> Answer<B> {
        match self.offload.run(move || work::sum(n)).await {
            Ok(sum) => ok(sum.to_string()),
            Err(error) => text(StatusCode::SERVICE_UNAVAILABLE, format!("{error}\n")),
        }
    }

    fn blob<B>(&self, bytes: u64) -> Answer<B> {
        if bytes > MAX_BLOB {
            return text(StatusCode::BAD_REQUEST, format!("at most {MAX_BLOB} bytes, not {bytes}\n"));
        }
        let mut answer = Response::new(Either::Right(Either::Left(self.pattern.blob(bytes))));
        answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
        answer
    }

    fn leak<B>(&self, bytes: u64) -> Answer<B> {
        match self.leaked.add(bytes) {
            Ok(total) => ok(format!("leaked {bytes} bytes, {total} in all\n")),
            Err(_) => text(StatusCode::INSUFFICIENT_STORAGE, format!("cannot allocate {bytes} bytes\n")),
        }
    }

    fn crash(&self) -> ! {
        self.say("crashes, as asked");
        std::process::exit(1)
    }

    fn hang(&self) -> ! {
        self.say("hangs, as asked");
        loop {
            std::thread::park();
        }
    }

    fn say(&self, what: &str) {
        let _ = writeln!(std::io::stderr(), "{} {what}", self.name);
    }
}

fn echo<B: Body>(kind: Option<&HeaderValue>, body: B) -> Answer<B> {
    let kind = kind.cloned().unwrap_or(HeaderValue::from_static("application/octet-stream"));
    let mut answer = Response::new(Either::Right(Either::Right(body)));
    answer.headers_mut().insert(CONTENT_TYPE, kind);
    answer
}

fn pause(ms: u64) -> Duration {
    Duration::from_millis(ms).min(MAX_PAUSE)
}

fn parsed<B>(value: &str, answer: impl FnOnce(u64) -> Answer<B>) -> Answer<B> {
    value.parse().map_or_else(|_| not_a_number(value), answer)
}

fn not_a_number<B>(value: impl Display) -> Answer<B> {
    text(StatusCode::BAD_REQUEST, format!("`{value}` is not a whole number from 0 to {}\n", u64::MAX))
}

fn ok<B>(body: impl Into<Bytes>) -> Answer<B> {
    text(StatusCode::OK, body)
}

fn text<B>(status: StatusCode, body: impl Into<Bytes>) -> Answer<B> {
    let mut answer = Response::new(Either::Left(Full::new(body.into())));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    answer
}

#[cfg(test)]
mod tests {
    use super::USAGE;

    #[test]
    fn page_404_lists_the_documented_routes_and_variables() {
        let told: Vec<_> = USAGE.lines().filter_map(|line| line.strip_prefix("  ")?.split(' ').next()).collect();
        let documented =
            include_str!("mod.rs").lines().filter_map(|line| line.strip_prefix("//! | `")?.split('`').next());
        assert_eq!(told, documented.collect::<Vec<_>>());
        assert_eq!(told.len(), 13 + 4);
    }
}
