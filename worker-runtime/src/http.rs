//! HTTP/1 connections with a graceful shutdown when the worker drains.

mod activity;
#[cfg(test)]
mod tests;

use std::error::Error;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use hyper::header::{CONNECTION, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::time::{Instant, sleep};

use crate::{Draining, Stream};

use activity::{Activity, Watched};

/// The time for which a draining worker waits for a connection's next request. A client that sends requests more often
/// than this and obeys `Connection: close` loses nothing.
const QUIET: Duration = Duration::from_secs(1);

/// The time for which a draining worker waits for the rest of a request that has begun, after each piece of it.
const STALLED: Duration = Duration::from_secs(10);

/// Serves one HTTP/1 connection until the client leaves or the worker drains. Needs the feature `hyper`.
///
/// Run it with [`Worker::spawn`](crate::Worker::spawn), so that `finish` waits for it. Once draining has begun:
///
/// - A request that is being answered is answered in full, with `Connection: close` unless its head is already sent.
/// - A kept connection stays open for the client's next request, which is answered in full with `Connection: close`.
///   The worker cannot know from the bytes so far if that request is on its way, so it tells the client to end the
///   connection.
/// - A connection on which no request begins for 1 s is closed. The second starts at the beginning of the drain or at
///   the connection's last answer. A connection is also closed if a request stalls within its head for 10 s.
/// - A long answer has no limit here. The master's `kill-timeout` is its limit.
///
/// At every kind of end, bytes that the client still sends do not destroy the last answer: see [`Stream::linger`].
///
/// The service is hyper's: usually a [`service_fn`]. `hyper_util::service::TowerToHyperService` makes one of an axum
/// router. hyper itself is re-exported as [`worker_runtime::hyper`](crate::hyper), so that the versions are the same.
/// For other settings or HTTP/2 use hyper directly, with [`Draining`]. Note that hyper's own `graceful_shutdown` closes
/// an idle connection at once, also when a request is just arriving.
///
/// Cancel safe in that nothing leaks. Dropping the future resets the answer for which the client still waits.
///
/// # Errors
///
/// Fails if the client or the service made a mistake. Use the error for a log at most: a broken connection is no reason
/// to end a worker.
pub async fn serve<S, B>(stream: Stream, draining: Draining, service: S) -> hyper::Result<()>
where
    S: Service<Request<Incoming>, Response = Response<B>>,
    S::Error: Into<Box<dyn Error + Send + Sync>>,
    B: Body + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let activity = Arc::new(Activity::default());
    let closing = service_fn(|request| {
        let answering = activity.begin_answer();
        let answer = service.call(request);
        let draining = &draining;
        async move {
            let mut answer = answer.await?;
            if draining.has_begun() {
                answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            // The body keeps `answering`: hyper drops the body with its last byte.
            Ok::<_, S::Error>(answer.map(|body| {
                body.map_err(move |error| {
                    let _ = &answering;
                    error
                })
            }))
        }
    });
    let watched = Watched { stream, activity: Arc::clone(&activity) };
    // Half-closing clients (`printf ... | nc -N`) have sent all their bytes and wait for the answer.
    let mut connection = http1::Builder::new().half_close(true).serve_connection(TokioIo::new(watched), closing);
    let ended = loop {
        tokio::select! {
            biased;
            ended = &mut connection => break ended,
            () = quiet(&draining, &activity) => activity.close_if_quiet(),
        }
    };
    let stream = connection.into_parts().io.into_inner().stream;
    // A client that itself asked to close, or that has closed, sends nothing that could destroy the answer.
    if !activity.has_ended() && (draining.has_begun() || stream.has_unread()) {
        stream.linger().await;
    }
    ended
}

/// Resolves when draining has begun and the connection has been quiet for long enough.
///
/// Must be polled by the connection's own task, each time after that task has polled the connection. So it sees every
/// event of the connection, and only its timer has to wake it.
async fn quiet(draining: &Draining, activity: &Activity) {
    draining.begun().await;
    let mut seen = activity.moves();
    let mut patience = pin!(sleep(patience(activity)));
    poll_fn(|context| {
        if activity.is_answering() {
            seen = activity.moves().wrapping_sub(1);
            return Poll::Pending;
        }
        if seen != activity.moves() {
            seen = activity.moves();
            patience.as_mut().reset(Instant::now() + self::patience(activity));
        }
        patience.as_mut().poll(context)
    })
    .await;
}

fn patience(activity: &Activity) -> Duration {
    if activity.has_heard() { STALLED } else { QUIET }
}
