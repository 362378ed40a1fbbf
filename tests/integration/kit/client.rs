//! Many clients at once.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::{Response, get};

/// The results of many requests.
#[derive(Debug, Default)]
pub(crate) struct Burst {
    /// The bodies of whole answers with status 200.
    pub(crate) bodies: Vec<String>,
    /// Everything else, in words.
    pub(crate) failed: Vec<String>,
}

impl Burst {
    /// The number of bodies that begin with `text`.
    pub(crate) fn starting(&self, text: &str) -> usize {
        self.bodies.iter().filter(|body| body.starts_with(text)).count()
    }
}

/// Sends `count` requests for `path`, each on a connection of its own, from four clients.
pub(crate) fn burst(address: SocketAddr, path: &str, count: usize) -> Burst {
    let mut burst = Burst::default();
    for answer in clients(4, count, |_| get(address, path)) {
        match answer {
            Ok(Response { status: 200, body, .. }) => burst.bodies.push(body),
            other => burst.failed.push(format!("{other:?}")),
        }
    }
    burst
}

/// Calls `request` with 0 to `count` - 1 from `threads` threads. Returns the results in no particular order.
pub(crate) fn clients<T: Send>(
    threads: usize,
    count: usize,
    request: impl Fn(usize) -> io::Result<T> + Sync,
) -> Vec<io::Result<T>> {
    let next = AtomicUsize::new(0);
    let client = || {
        let mut results = Vec::new();
        loop {
            let n = next.fetch_add(1, Ordering::Relaxed);
            if n >= count {
                return results;
            }
            results.push(request(n));
        }
    };
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..threads).map(|_| scope.spawn(client)).collect();
        clients.into_iter().flat_map(|client| client.join().unwrap()).collect()
    })
}
