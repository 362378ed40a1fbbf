//! A server with faults set by a script. It remembers the operations that it harmed.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use roundelay_checker::Token;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

/// A fault of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Reads the request and sends nothing, for ever.
    Hang,
    /// Resets before the answer.
    Reset,
    /// Ends in an orderly way before the answer.
    Close,
    /// Resets within the answer.
    ResetMidway,
    /// Ends within an answer whose length it announced.
    Truncate,
    /// Ends within an answer whose length it did not announce.
    TruncateUnsaid,
    /// Changes one bit of the answer.
    Flip,
    /// Sends the answer of another operation.
    Other,
    /// Sends a piece of the answer twice.
    Double,
    /// Sends bytes after the answer.
    Surplus,
    /// Sends bytes after the answer, when the client takes the connection for idle.
    LateSurplus,
    /// Sends no HTTP at all.
    Garbage,
    /// Answers 503.
    Status,
    /// Blocks the whole server for that long, then answers.
    Stall(Duration),
    /// Answers well and announces the end of the connection, but does not end it.
    SayClose,
    /// Answers well and ends the connection without having announced it.
    EndAfter,
}

/// A request, as the script sees it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen {
    /// The number of earlier requests, on all connections.
    pub(crate) before: u64,
    /// The operation's number.
    pub(crate) number: u64,
    /// True for the first request of its connection.
    pub(crate) is_first: bool,
}

type Script = dyn FnMut(Seen) -> Option<Fault> + Send;

/// A server on a thread of its own, until it is dropped.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

struct Shared {
    is_http: bool,
    script: Mutex<(u64, Box<Script>)>,
    harmed: Mutex<Vec<u64>>,
}

impl Server {
    pub(crate) fn http(script: impl FnMut(Seen) -> Option<Fault> + Send + 'static) -> Self {
        Self::start(true, Box::new(script))
    }

    pub(crate) fn raw(script: impl FnMut(Seen) -> Option<Fault> + Send + 'static) -> Self {
        Self::start(false, Box::new(script))
    }

    fn start(is_http: bool, script: Box<Script>) -> Self {
        let script = Mutex::new((0, script));
        let shared = Arc::new(Shared { is_http, script, harmed: Mutex::default() });
        let (stop, stopped) = oneshot::channel();
        let (tell, address) = mpsc::channel();
        let theirs = Arc::clone(&shared);
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let socket = tokio::net::TcpSocket::new_v4().unwrap();
                socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
                let listener = socket.listen(4096).unwrap();
                tell.send(listener.local_addr().unwrap()).unwrap();
                tokio::select! {
                    () = accept(listener, theirs) => {}
                    _ = stopped => {}
                }
            });
        });
        Self { address: address.recv().unwrap(), shared, stop: Some(stop), thread: Some(thread) }
    }

    /// Returns the numbers of the operations that met a fault, in order.
    pub(crate) fn harmed(&self) -> Vec<u64> {
        let mut harmed = self.shared.harmed.lock().unwrap().clone();
        harmed.sort_unstable();
        harmed
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            let mut peer = Peer { stream, unread: Vec::new(), is_first: true };
            // Clients may leave at any time, so errors are ignored.
            let _ = if shared.is_http { peer.http(&shared).await } else { peer.raw(&shared).await };
        });
    }
}

impl Shared {
    fn fault(&self, number: u64, is_first: bool) -> Option<Fault> {
        let mut script = self.script.lock().unwrap();
        let (before, script) = &mut *script;
        let fault = script(Seen { before: *before, number, is_first });
        *before += 1;
        if fault.is_some() {
            self.harmed.lock().unwrap().push(number);
        }
        fault
    }
}

struct Peer {
    stream: TcpStream,
    unread: Vec<u8>,
    is_first: bool,
}

/// The answer of a server without faults.
struct Answer {
    head: String,
    body: Vec<u8>,
}

impl Peer {
    async fn http(&mut self, shared: &Shared) -> io::Result<()> {
        loop {
            let Some(end) = self.until(|unread| find(unread, b"\r\n\r\n")).await? else { return Ok(()) };
            let head = String::from_utf8(self.unread.drain(..end + 4).collect()).unwrap();
            let field = |name: &str| Some(head.lines().find_map(|line| line.strip_prefix(name))?.trim().to_owned());
            let target = head.split(' ').nth(1).unwrap().to_owned();
            let (path, token) = target.split_once('?').unwrap();
            let number = Token::parse(token.as_bytes()).unwrap().number();
            if field("Transfer-Encoding:").is_some() {
                let fault = shared.fault(number, self.is_first);
                return self.stream_back(fault).await;
            }
            let body = match path.strip_prefix("/blob/") {
                Some(length) => (0..=250).cycle().take(length.parse().unwrap()).collect(),
                None if path == "/" => format!("hello from demo/{} (pid 1), request 1\n", number % 2).into_bytes(),
                None => {
                    let length = field("Content-Length:").unwrap().parse().unwrap();
                    self.exactly(length).await?
                }
            };
            let says_close = field("Connection:").is_some();
            let close = if says_close { "Connection: close\r\n" } else { "" };
            let answer = Answer { head: format!("HTTP/1.1 200 OK\r\n{close}"), body };
            let fault = shared.fault(number, self.is_first);
            self.is_first = false;
            if !self.answer_http(answer, fault, number).await? || says_close {
                return Ok(());
            }
        }
    }

    /// Answers. Returns false if the connection is to end.
    async fn answer_http(&mut self, answer: Answer, fault: Option<Fault>, number: u64) -> io::Result<bool> {
        let Answer { head, mut body } = answer;
        let said = format!("{head}Content-Length: {}\r\n\r\n", body.len());
        let other = |body: &[u8]| {
            let text = String::from_utf8_lossy(body);
            let shifted = text.replace(&format!("{number:012x};"), &format!("{:012x};", number + 1));
            shifted.into_bytes()
        };
        match fault {
            Some(Fault::TruncateUnsaid) => {
                let half = &body[..body.len() / 2];
                self.stream.write_all(&[format!("{head}\r\n").as_bytes(), half].concat()).await?;
                return Ok(false);
            }
            Some(Fault::Status) => {
                self.stream.write_all(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n").await?;
                return Ok(true);
            }
            Some(Fault::Garbage) => {
                self.stream.write_all(b"SSH-2.0-OpenSSH_9.2\r\n").await?;
                return Ok(false);
            }
            Some(Fault::SayClose) => {
                let text = format!("{head}Connection: close\r\nContent-Length: {}\r\n\r\n", body.len());
                self.stream.write_all(&[text.as_bytes(), &body].concat()).await?;
                return Ok(true);
            }
            Some(Fault::Other) => body = other(&body),
            _ => {}
        }
        self.answer_bytes([said.as_bytes(), &body].concat(), fault).await
    }

    async fn raw(&mut self, shared: &Shared) -> io::Result<()> {
        loop {
            // The token at the beginning names the operation. After that the server sends all bytes back as they come.
            let least = if self.is_first { Token::LENGTH } else { 1 };
            let Some(_) = self.until(|unread| (unread.len() >= least).then_some(0)).await? else { return Ok(()) };
            let number = Token::parse(&self.unread).map_or(u64::MAX, Token::number);
            let fault = shared.fault(number, self.is_first);
            self.is_first = false;
            let bytes = match fault {
                None => std::mem::take(&mut self.unread),
                // Clients that meet faults send 256 bytes.
                Some(_) => self.exactly(256).await?,
            };
            if !self.answer_bytes(bytes, fault).await? {
                return Ok(());
            }
        }
    }

    /// Sends an answer as the fault changes it. Returns false if the connection is to end.
    async fn answer_bytes(&mut self, mut bytes: Vec<u8>, fault: Option<Fault>) -> io::Result<bool> {
        let length = bytes.len();
        match fault {
            None | Some(Fault::Other | Fault::EndAfter) => {}
            Some(Fault::Stall(pause)) => std::thread::sleep(pause),
            Some(Fault::Hang) => std::future::pending().await,
            Some(Fault::Reset) => {
                self.stream.set_zero_linger()?;
                return Ok(false);
            }
            Some(Fault::Close) => return Ok(false),
            Some(Fault::ResetMidway) => {
                self.stream.write_all(&bytes[..length - 10]).await?;
                self.stream.set_zero_linger()?;
                return Ok(false);
            }
            Some(Fault::Truncate) => {
                self.stream.write_all(&bytes[..length - 10]).await?;
                return Ok(false);
            }
            Some(Fault::Flip) => bytes[length - 10] ^= 0x20,
            Some(Fault::Double) => {
                let piece = bytes[length - 16..].to_vec();
                bytes.splice(length - 32..length - 32, piece);
                bytes.truncate(length);
            }
            Some(Fault::Surplus) => bytes.extend_from_slice(b"and more"),
            Some(Fault::LateSurplus) => {
                self.stream.write_all(&bytes).await?;
                tokio::time::sleep(Duration::from_millis(20)).await;
                bytes = b"and more".to_vec();
            }
            Some(Fault::TruncateUnsaid | Fault::Garbage | Fault::Status | Fault::SayClose) => {
                unreachable!("only in HTTP")
            }
        }
        self.stream.write_all(&bytes).await?;
        Ok(fault != Some(Fault::EndAfter))
    }

    /// Sends chunks back as they come. The content has no chunk that looks like the last one. With a fault, sends only
    /// the first ones.
    async fn stream_back(&mut self, fault: Option<Fault>) -> io::Result<()> {
        self.stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n").await?;
        loop {
            self.stream.write_all(&self.unread).await?;
            if self.unread.ends_with(b"\r\n0\r\n\r\n") {
                return Ok(());
            }
            match fault {
                Some(Fault::Truncate) if !self.unread.is_empty() => return Ok(()),
                Some(Fault::ResetMidway) if !self.unread.is_empty() => return self.stream.set_zero_linger(),
                _ => self.unread.clear(),
            }
            if self.stream.read_buf(&mut self.unread).await? == 0 {
                return Ok(());
            }
        }
    }

    /// Reads until `found` finds something. Returns `None` at the end.
    async fn until(&mut self, found: impl Fn(&[u8]) -> Option<usize>) -> io::Result<Option<usize>> {
        loop {
            if let Some(at) = found(&self.unread) {
                return Ok(Some(at));
            }
            // Without this `read_buf` would read 64 bytes at a time.
            self.unread.reserve(64 << 10);
            if self.stream.read_buf(&mut self.unread).await? == 0 {
                return Ok(None);
            }
        }
    }

    async fn exactly(&mut self, length: usize) -> io::Result<Vec<u8>> {
        self.until(|unread| (unread.len() >= length).then_some(0)).await?;
        Ok(self.unread.drain(..length.min(self.unread.len())).collect())
    }
}

fn find(bytes: &[u8], text: &[u8]) -> Option<usize> {
    bytes.windows(text.len()).position(|window| window == text)
}
