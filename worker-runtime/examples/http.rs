//! HTTP with hyper: `/` answers, `/slow` takes a second. On SIGTERM every open request is answered first.

use std::convert::Infallible;
use std::time::Duration;

use worker_runtime::hyper::{Request, Response, body::Incoming, service::service_fn};
use worker_runtime::{Worker, http};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut worker = Worker::from_env().await?;
    worker.ready().await?;
    while let Some(client) = worker.accept().await? {
        worker.spawn(http::serve(client, worker.draining(), service_fn(answer)));
    }
    worker.finish().await;
    Ok(())
}

async fn answer(request: Request<Incoming>) -> Result<Response<String>, Infallible> {
    if request.uri().path() == "/slow" {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    Ok(Response::new("hello from Rust\n".to_owned()))
}
