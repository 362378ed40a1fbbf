//! The demo worker: a small HTTP server with which every promise of Roundelay can be tried with curl.
//!
//! | route | what it does |
//! |---|---|
//! | `/` | names the worker that answers: `hello from demo/1 (pid 40113), request 17` |
//! | `/api/:n` | sums 0 to n, one step at a time, on the thread that serves: a large n blocks this worker |
//! | `/offload/:n` | computes the same sum on another thread, so that the worker goes on serving |
//! | `/slow/:ms` | waits that long, and serves other clients meanwhile |
//! | `/cpu/:ms` | computes for that long on the thread that serves |
//! | `/block/:ms` | blocks the thread that serves for that long, without using CPU |
//! | `/blob/:bytes` | sends that many bytes; the byte at offset i is i mod 251 |
//! | `/leak/:bytes` | takes that many bytes of memory, writes to them and never gives them back |
//! | `/client` | shows the client's address as this worker sees it: behind a relay it is the master's |
//! | `/echo` | sends the request's body back while the request still arrives |
//! | `/crash` | ends this process with exit code 1 at once |
//! | `/hang` | blocks this worker for ever |
//! | `/health` | answers 200 |
//!
//! If the master hands connections over, it may also send messages:
//!
//! | message | what it does |
//! |---|---|
//! | any JSON value | writes a line `message: {json}` to standard output, and sends `{"echo": value}` back |
//!
//! Environment variables make it start or end badly. Any other value than these is an error:
//!
//! | variable | what it does |
//! |---|---|
//! | `DEMO_IGNORE_TERM=1` | ignores SIGTERM, the drain signal, and goes on serving |
//! | `DEMO_START_DELAY=ms` | waits that long before it listens and is ready |
//! | `DEMO_FAIL_START=1` | writes the reason and exits with 3 before it listens, after the delay if there is one |
//! | `DEMO_SLOW=slot:ms` | the worker in that slot answers that much later than the others, except `/health` |
//!
//! Each answer names its worker in a header: `X-Worker: demo/1`.
//!
//! The worker serves with one thread, so that a request that blocks really blocks its worker, as in Node. The other
//! workers then show how a load balancer handles that. On SIGTERM the worker accepts the waiting connections and stops
//! accepting. It answers open requests, and the next request of each kept connection with `Connection: close`. Then it
//! exits with 0; see [`http::serve`].

mod blob;
mod faults;
mod leak;
#[cfg(feature = "messages")]
mod messages;
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
use tokio::signal::unix::{SignalKind, signal};

use crate::{Offload, Worker, http};

use faults::{FAIL_START, Faults};
use router::Router;

/// The number of offloaded sums that may wait. Further ones are answered with 503.
const OFFLOAD_QUEUE: usize = 64;

/// The exit code of a demo worker that was told to fail at its start. No other end of it has this code.
const FAILED_START: u8 = 3;

/// Runs the demo worker as the environment says, until SIGTERM; see [`Worker::from_env`].
pub fn main() -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let ended = runtime.map_err(Into::into).and_then(|runtime| runtime.block_on(run()));
    let error = match ended {
        Ok(code) => return code,
        Err(error) => error,
    };
    // Standard error may be closed. Then the error cannot be reported.
    let mut stderr = std::io::stderr().lock();
    let _ = writeln!(stderr, "error: {error}");
    if let Some(cause) = error.source() {
        let _ = writeln!(stderr, "cause: {cause}");
    }
    ExitCode::FAILURE
}

async fn run() -> Result<ExitCode, Box<dyn Error>> {
    let environment = |name: &str| std::env::var_os(name);
    let faults = Faults::read(&environment)?;
    // Once tokio has caught the signal, it has no effect on this process, since no task waits for it.
    let _unheard = faults.ignores_term.then(|| signal(SignalKind::terminate())).transpose()?;
    tokio::time::sleep(faults.start_delay).await;
    if faults.fails_to_start {
        let _ = writeln!(std::io::stderr(), "error: this demo worker does not start, as {FAIL_START} says");
        return Ok(ExitCode::from(FAILED_START));
    }
    let worker = if faults.ignores_term { Worker::open(&environment).await? } else { Worker::from_env().await? };
    let slot = worker.slot();
    let name = format!("{}/{slot}", worker.pool());
    let endpoints: Vec<_> = worker.endpoints()?.iter().map(ToString::to_string).collect();
    let _ = writeln!(std::io::stdout(), "{name} listening on {}", endpoints.join(", "));
    worker.ready().await?;
    serve(worker, Router::new(name, faults.delay(slot), compute_threads()?)).await?;
    Ok(ExitCode::SUCCESS)
}

/// Accepts until the worker drains, then waits for the open connections.
async fn serve(mut worker: Worker, router: Router) -> Result<(), Box<dyn Error>> {
    let router = Arc::new(router);
    #[cfg(feature = "messages")]
    worker.spawn(messages::echo(worker.messages()));
    while let Some(stream) = worker.accept().await? {
        let router = Arc::clone(&router);
        let client = stream.peer_addr();
        let service = service_fn(move |request| {
            let router = Arc::clone(&router);
            async move { Ok::<_, Infallible>(router.answer(request, client).await) }
        });
        // An error of a client's connection is not the worker's error.
        worker.spawn(http::serve(stream, worker.draining(), service));
    }
    worker.finish().await;
    Ok(())
}

/// Starts the threads for offloaded work: one, since there are about as many workers as cores.
fn compute_threads() -> std::io::Result<Offload> {
    Offload::new(NonZeroUsize::MIN, OFFLOAD_QUEUE)
}
