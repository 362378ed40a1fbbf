//! The demo worker: a small HTTP server on which every promise of Roundelay can be tried with curl.
//!
//! | route | what it does |
//! |---|---|
//! | `/` | says which worker answers: `hello from demo/1 (pid 40113), request 17` |
//! | `/api/:n` | sums 0 to n, one step at a time, on the thread that serves: a large n makes this worker deaf meanwhile |
//! | `/offload/:n` | the same sum on a thread of its own: the worker goes on serving |
//! | `/slow/:ms` | waits without blocking anybody |
//! | `/cpu/:ms` | computes for that long on the thread that serves |
//! | `/blob/:bytes` | that many bytes, the byte at offset i being i mod 251 |
//! | `/echo` | sends the request's body back while it still arrives |
//! | `/crash` | ends this process with exit code 1 at once |
//! | `/hang` | blocks this worker for ever |
//! | `/health` | 200 |
//!
//! One thread serves, on purpose: a request that blocks really blocks its worker, as in Node, and the others show what a
//! balancer makes of it. On SIGTERM the worker stops accepting, says `Connection: close`, finishes open requests and exits
//! with 0.

mod blob;
mod router;
mod work;

#[cfg(test)]
mod tests;

use std::convert::Infallible;
use std::error::Error;
use std::io::Write;
use std::num::NonZeroUsize;
use std::process::ExitCode;
use std::sync::Arc;

use hyper::service::service_fn;

use crate::{Offload, Worker, http};

use router::Router;

/// Offloaded sums that may wait; more are answered with 503.
const OFFLOAD_QUEUE: usize = 64;

/// Runs the demo worker as the environment says, until SIGTERM; see [`Worker::from_env`].
pub fn main() -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let ended = runtime.map_err(Into::into).and_then(|runtime| runtime.block_on(run()));
    let Err(error) = ended else { return ExitCode::SUCCESS };
    // Standard error may be closed, and then there is nobody to tell.
    let mut stderr = std::io::stderr().lock();
    let _ = writeln!(stderr, "error: {error}");
    if let Some(cause) = error.source() {
        let _ = writeln!(stderr, "cause: {cause}");
    }
    ExitCode::FAILURE
}

async fn run() -> Result<(), Box<dyn Error>> {
    let worker = Worker::from_env().await?;
    let name = format!("{}/{}", worker.pool(), worker.slot());
    let endpoints: Vec<_> = worker.endpoints()?.iter().map(ToString::to_string).collect();
    let _ = writeln!(std::io::stdout(), "{name} listening on {}", endpoints.join(", "));
    worker.ready().await?;
    serve(worker, Router::new(name, compute_threads()?)).await
}

/// Accepts until the worker drains, then waits for the open connections.
async fn serve(mut worker: Worker, router: Router) -> Result<(), Box<dyn Error>> {
    let router = Arc::new(router);
    while let Some(stream) = worker.accept().await? {
        let router = Arc::clone(&router);
        let service = service_fn(move |request| {
            let router = Arc::clone(&router);
            async move { Ok::<_, Infallible>(router.answer(request).await) }
        });
        // A client that fails is no error of ours.
        worker.spawn(http::serve(stream, worker.draining(), service));
    }
    worker.finish().await;
    Ok(())
}

/// One: there are as many workers as cores, or nearly so.
fn compute_threads() -> std::io::Result<Offload> {
    Offload::new(NonZeroUsize::MIN, OFFLOAD_QUEUE)
}
