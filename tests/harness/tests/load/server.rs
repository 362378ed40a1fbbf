//! Servers that follow a script, with a thread for each connection.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// An answer that leaves the connection open.
pub(crate) const GOOD: &str = "HTTP/1.1 200 OK\r\nContent-Length: 26\r\n\r\nhello from demo/1 (pid 17)";

/// One connection as its script sees it.
pub(crate) struct Connection {
    stream: TcpStream,
    counts: Arc<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    connections: AtomicUsize,
    open: AtomicUsize,
    requests: AtomicUsize,
    planted: AtomicUsize,
    is_over: AtomicBool,
}

/// A server that ends when it is dropped; its connections end with their clients.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    counts: Arc<Counts>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    pub(crate) fn start(script: impl Fn(&mut Connection) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (counts, script) = (Arc::new(Counts::default()), Arc::new(script));
        let theirs = Arc::clone(&counts);
        let accept = move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if theirs.is_over.load(Ordering::SeqCst) {
                    return;
                }
                theirs.connections.fetch_add(1, Ordering::SeqCst);
                theirs.open.fetch_add(1, Ordering::SeqCst);
                stream.set_nodelay(true).unwrap();
                let mut connection = Connection { stream, counts: Arc::clone(&theirs) };
                let script = Arc::clone(&script);
                std::thread::spawn(move || script(&mut connection));
            }
        };
        Self { address, counts, thread: Some(std::thread::spawn(accept)) }
    }

    /// Returns a server that answers every request with that text.
    pub(crate) fn that_answers(text: &'static str) -> Self {
        Self::start(move |connection| while connection.request().is_some() && connection.send(text) {})
    }

    pub(crate) fn connections(&self) -> u64 {
        self.counts.connections.load(Ordering::SeqCst) as u64
    }

    pub(crate) fn requests(&self) -> u64 {
        self.counts.requests.load(Ordering::SeqCst) as u64
    }

    pub(crate) fn planted(&self) -> u64 {
        self.counts.planted.load(Ordering::SeqCst) as u64
    }

    pub(crate) fn open(&self) -> usize {
        self.counts.open.load(Ordering::SeqCst)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.counts.is_over.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Connection {
    /// Returns the next request, including its body; `None` at the end.
    pub(crate) fn request(&mut self) -> Option<String> {
        let mut text = Vec::new();
        let mut piece = [0; 4096];
        loop {
            match self.stream.read(&mut piece) {
                Ok(0) | Err(_) => return None,
                Ok(bytes) => text.extend_from_slice(&piece[..bytes]),
            }
            if let Some(end) = text.windows(4).position(|window| window == b"\r\n\r\n") {
                let head = String::from_utf8_lossy(&text[..end]).into_owned();
                let length = head.split("\r\n").find_map(|line| line.strip_prefix("Content-Length: "));
                let length: usize = length.map_or(0, |length| length.parse().unwrap());
                if text.len() == end + 4 + length {
                    self.counts.requests.fetch_add(1, Ordering::SeqCst);
                    return Some(String::from_utf8(text).unwrap());
                }
            }
        }
    }

    /// Sends a text; false if the client is gone.
    pub(crate) fn send(&mut self, text: &str) -> bool {
        self.stream.write_all(text.as_bytes()).is_ok()
    }

    /// Counts a fault that happens now and that the client has to find.
    pub(crate) fn plant(&self) {
        self.counts.planted.fetch_add(1, Ordering::SeqCst);
    }

    /// Makes the connection end with a reset.
    pub(crate) fn end_in_reset(&self) {
        rustix::net::sockopt::set_socket_linger(&self.stream, Some(Duration::ZERO)).unwrap();
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.counts.open.fetch_sub(1, Ordering::SeqCst);
    }
}
