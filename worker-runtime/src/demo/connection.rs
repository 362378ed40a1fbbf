//! One client connection from its first byte to its end.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::header::{CONNECTION, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;

use super::router::Router;
use crate::{Draining, Stream};

/// How long a draining worker waits for the first request of a connection that it has already accepted.
const FIRST_REQUEST: Duration = Duration::from_secs(1);

/// How long a draining worker still listens on a kept connection before it closes it: enough for a request whose bytes
/// are here already, but not yet seen by the runtime.
const LAST_LOOK: Duration = Duration::from_millis(10);

/// Answers requests until the client leaves or the worker drains. A client that fails is no error of ours.
pub(super) async fn serve(stream: Stream, router: Arc<Router>, draining: Draining) {
    // hyper closes a connection at once that has read nothing when it is told to finish. Its request may be on the way,
    // though: the master relays as soon as we have accepted.
    tokio::select! {
        biased;
        _ = stream.readable() => {}
        () = after(&draining, FIRST_REQUEST) => return,
    }
    let service = service_fn(|request| {
        let (router, draining) = (Arc::clone(&router), draining.clone());
        async move {
            let mut answer = router.answer(request).await;
            if draining.has_begun() {
                answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            Ok::<_, Infallible>(answer)
        }
    });
    // Half-closing clients (`printf ... | nc -N`) have sent all they have and wait for the answer.
    let connection = http1::Builder::new().half_close(true).serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    tokio::select! {
        biased;
        _ = connection.as_mut() => return,
        () = after(&draining, LAST_LOOK) => connection.as_mut().graceful_shutdown(),
    }
    let _ = connection.await;
}

async fn after(draining: &Draining, pause: Duration) {
    draining.begun().await;
    tokio::time::sleep(pause).await;
}
