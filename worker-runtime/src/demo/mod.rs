//! The demo worker: a small HTTP server on which every promise of Roundelay can be tried with curl.
//!
//! | route | what it does |
//! |---|---|
//! | `/` | says which worker answers: `hello from demo/1 (pid 40113), request 17` |
//! | `/api/:n` | sums 0 to n, one step at a time, on the thread that serves: a large n makes this worker deaf meanwhile |
//! | `/offload/:n` | the same sum on a thread of its own: the worker goes on serving |
//! | `/slow/:ms` | waits without blocking anybody |
//! | `/cpu/:ms` | computes for that long on the thread that serves |
//! | `/block/:ms` | blocks that thread for that long without using CPU |
//! | `/blob/:bytes` | that many bytes, the byte at offset i being i mod 251 |
//! | `/leak/:bytes` | takes that many bytes of memory, touches them and never gives them back |
//! | `/client` | the address of the client as this worker sees it: behind a relay the master's |
//! | `/echo` | sends the request's body back while it still arrives |
//! | `/crash` | ends this process with exit code 1 at once |
//! | `/hang` | blocks this worker for ever |
//! | `/health` | 200 |
//!
//! Where the master hands connections over, it may also say something:
//!
//! | message | what it does |
//! |---|---|
//! | any JSON value | a line `message: {json}` on standard output, and `{"echo": value}` back to the master |
//!
//! How it starts and ends badly is said by its environment. Any other value than these is an error:
//!
//! | variable | what it does |
//! |---|---|
//! | `DEMO_IGNORE_TERM=1` | does not react to SIGTERM, the drain signal, and goes on serving |
//! | `DEMO_START_DELAY=ms` | waits that long before it listens and is ready |
//! | `DEMO_FAIL_START=1` | says why and exits with 3, before it listens; after the delay, if there is one |
//! | `DEMO_SLOW=slot:ms` | the worker of that slot answers so much later than the others; `/health` does not |
//!
//! Each answer names its worker in a header, `X-Worker: demo/1`.
//!
//! One thread serves, on purpose: a request that blocks really blocks its worker, as in Node, and the others show what a
//! balancer makes of it. On SIGTERM the worker accepts what waits and stops accepting, answers open requests and the next
//! one of each kept connection with `Connection: close`, and exits with 0; see [`http::serve`].

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

/// Offloaded sums that may wait; more are answered with 503.
const OFFLOAD_QUEUE: usize = 64;

/// What a demo worker exits with that was told to fail at its start: no other end of it has this code.
const FAILED_START: u8 = 3;

/// Runs the demo worker as the environment says, until SIGTERM; see [`Worker::from_env`].
pub fn main() -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let ended = runtime.map_err(Into::into).and_then(|runtime| runtime.block_on(run()));
    let error = match ended {
        Ok(code) => return code,
        Err(error) => error,
    };
    // Standard error may be closed, and then there is nobody to tell.
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
    // Once caught, and with nobody who waits for it, the signal does nothing more in this process.
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
