//! HTTP/1 connections that end well when the worker drains.

use std::error::Error;
use std::pin::pin;
use std::time::Duration;

use hyper::body::{Body, Incoming};
use hyper::header::{CONNECTION, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;

use crate::{Draining, Stream};

/// How long a draining worker waits for the first request of a connection that it has already accepted.
const FIRST_REQUEST: Duration = Duration::from_secs(1);

/// How long a draining worker still listens on a kept connection before it closes it: enough for a request whose bytes
/// are here already, but not yet seen by the runtime.
const LAST_LOOK: Duration = Duration::from_millis(10);

/// Serves one HTTP/1 connection until the client leaves or the worker drains. Needs the feature `hyper`.
///
/// Give it to [`Worker::spawn`](crate::Worker::spawn), so that `finish` waits for it. Once draining has begun:
///
/// - a request that is being answered is answered in full, with `Connection: close`;
/// - a kept connection on which no request has begun is closed after 10 ms, or after 1 s if it never had one;
/// - there is no limit on an answer that takes long: the master's `kill-timeout` is that.
///
/// The service is hyper's: usually a [`service_fn`]; `hyper_util::service::TowerToHyperService` makes one of an axum
/// router. hyper itself is re-exported as [`worker_runtime::hyper`](crate::hyper), so that the versions are the same.
/// For other settings or HTTP/2 use hyper directly; this function is short, and [`Draining`] is all it knows.
///
/// Cancel safe in that nothing leaks; dropping the future resets what the client still waits for.
///
/// # Errors
///
/// What the client or the service did wrong, for a log at most: a broken connection is no reason to end a worker.
pub async fn serve<S, B>(stream: Stream, draining: Draining, service: S) -> hyper::Result<()>
where
    S: Service<Request<Incoming>, Response = Response<B>>,
    S::Error: Into<Box<dyn Error + Send + Sync>>,
    B: Body + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    // hyper closes a connection at once that has read nothing when it is told to finish. Its request may be on the way,
    // though: the master relays as soon as we have accepted.
    tokio::select! {
        biased;
        _ = stream.readable() => {}
        () = after(&draining, FIRST_REQUEST) => return Ok(()),
    }
    let closing = service_fn(|request| {
        let answer = service.call(request);
        let draining = &draining;
        async move {
            let mut answer = answer.await?;
            if draining.has_begun() {
                answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            Ok::<_, S::Error>(answer)
        }
    });
    // Half-closing clients (`printf ... | nc -N`) have sent all they have and wait for the answer.
    let connection = http1::Builder::new().half_close(true).serve_connection(TokioIo::new(stream), closing);
    let mut connection = pin!(connection);
    tokio::select! {
        biased;
        ended = connection.as_mut() => return ended,
        () = after(&draining, LAST_LOOK) => connection.as_mut().graceful_shutdown(),
    }
    connection.await
}

async fn after(draining: &Draining, pause: Duration) {
    draining.begun().await;
    tokio::time::sleep(pause).await;
}
