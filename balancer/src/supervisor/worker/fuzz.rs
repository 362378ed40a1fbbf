//! Any bytes as a worker's words, for the fuzz targets of `tests/fuzz/`.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::notify::parse;
use super::probe::{Surroundings, converse};
use crate::config::Probe;
use crate::os::accept_queue::PeerId;

/// Parses any datagram; a line gives at most one message.
pub fn notify(datagram: &[u8]) {
    let lines = datagram.split(|&byte| byte == b'\n').count();
    assert!(parse(datagram).len() <= lines, "more messages than lines");
}

/// Reads any bytes as the answer to a health check.
pub fn health_answer(answer: &[u8]) {
    struct Alone;
    impl Surroundings for Alone {
        fn sources(&self) -> u8 {
            1
        }
        fn connected(&self, _: PeerId) {}
        fn is_taken(&self, _: PeerId) -> bool {
            true
        }
    }
    thread_local! {
        static RUNTIME: Option<tokio::runtime::Runtime> =
            tokio::runtime::Builder::new_current_thread().enable_all().build().ok();
    }
    RUNTIME.with(|runtime| {
        let Some(runtime) = runtime else { return };
        runtime.block_on(async {
            let (ours, mut theirs) = tokio::io::duplex(answer.len().max(1024));
            let probe = Probe::Http { path: "/health".into() };
            // An answer that comes before the question is an error whatever it says.
            let worker = async {
                if theirs.read(&mut [0; 1024]).await? == 0 {
                    return Ok(());
                }
                theirs.write_all(answer).await?;
                theirs.shutdown().await
            };
            let _ = tokio::join!(worker, converse(ours, &probe, b"", None, &Alone));
        });
    });
}
