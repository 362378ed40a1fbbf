//! CPU-heavy work beside an accept loop that never blocks: `/:n` counts the primes up to n, and `/` is answered at once
//! meanwhile.

use std::convert::Infallible;
use std::num::NonZeroUsize;

use worker_runtime::hyper::{Request, Response, StatusCode, body::Incoming, service::service_fn};
use worker_runtime::{Offload, Worker, http};

/// The number of computations that may wait for the one thread. A client beyond them gets 503 at once.
const QUEUE: usize = 8;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut worker = Worker::from_env().await?;
    let offload = Offload::new(NonZeroUsize::MIN, QUEUE)?;
    worker.ready().await?;
    while let Some(client) = worker.accept().await? {
        let offload = offload.clone();
        let service = service_fn(move |request| answer(request, offload.clone()));
        worker.spawn(http::serve(client, worker.draining(), service));
    }
    worker.finish().await;
    Ok(())
}

async fn answer(request: Request<Incoming>, offload: Offload) -> Result<Response<String>, Infallible> {
    let Ok(n) = request.uri().path().trim_start_matches('/').parse() else {
        return Ok(Response::new("try /10000000\n".to_owned()));
    };
    let mut answer = Response::new(String::new());
    match offload.run(move || primes_up_to(n)).await {
        Ok(count) => *answer.body_mut() = format!("{count}\n"),
        Err(error) => {
            *answer.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
            *answer.body_mut() = format!("{error}\n");
        }
    }
    Ok(answer)
}

/// Uses no sieve, so that it takes time and no memory.
fn primes_up_to(n: u32) -> usize {
    let is_prime = |&n: &u32| (2..).take_while(|d| *d <= n / *d).all(|d| n % d != 0);
    (2..=n).filter(is_prime).count()
}
