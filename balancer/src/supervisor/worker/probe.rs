//! Probes a worker's endpoint once: does the worker accept, or does it answer well?

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use http_body_util::Empty;
use hyper::Request;
use hyper_util::rt::TokioIo;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream, UnixStream};
use tokio::time::Instant;

use crate::config::Probe;
use crate::os::accept_queue::PeerId;
use crate::os::limits::is_exhausted;
use crate::os::peer;
use crate::os::source_address::{bind_source, is_used_up};
use crate::rotation::{Endpoint, source_address};
use crate::stats::Check;

/// The lateness over its own timeout beyond which a probe's verdict would be about the master, not about the worker.
pub(in crate::supervisor) const OUR_OWN_LATENESS: Duration = Duration::from_millis(500);

/// The first and the longest pause between two checks whether the program has taken a connection.
const TAKEN_LOOK: (Duration, Duration) = (Duration::from_millis(2), Duration::from_millis(100));

/// The result of a probe.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::supervisor) struct CheckResult {
    pub(in crate::supervisor) check: Check,
    /// In words: `ok`, or the error and its endpoint.
    pub(in crate::supervisor) what: String,
    pub(in crate::supervisor) took: Duration,
}

/// The services that a probe needs while it is under way.
pub(in crate::supervisor) trait Surroundings {
    /// Returns the number of loopback addresses from which a port may be reached: the first with a free source port is
    /// used.
    fn sources(&self) -> u8;

    /// Records that the endpoint was reached from this address.
    fn connected(&self, from: PeerId);

    /// Returns true if the program has accepted the connection from this address. The kernel establishes it earlier.
    fn is_taken(&self, from: PeerId) -> bool;
}

/// Asks once, and sends `header` first; it is empty if the worker expects none. Returns `None` if our own clock was so
/// late, or our own descriptors so few, that the verdict would be about this machine, not the worker.
///
/// A probe that only connects is good when the program has taken the connection. A listening socket in the kernel is
/// not enough: a preforking server listens long before one of its processes can serve a client.
pub(in crate::supervisor) async fn ask(
    endpoint: &Endpoint,
    probe: &Probe,
    header: &[u8],
    timeout: Duration,
    surroundings: &impl Surroundings,
) -> Option<CheckResult> {
    let begun = Instant::now();
    let answer = tokio::time::timeout(timeout, exchange(endpoint, probe, header, surroundings)).await;
    let took = begun.elapsed();
    let (check, what) = match answer {
        Ok(Ok(())) => (Check::Ok, "ok".to_owned()),
        Ok(Err(error)) if is_our_own_lack(&error) => return None,
        Ok(Err(error)) => (Check::Fail, format!("{endpoint}: {error}")),
        Err(_) if took > timeout + OUR_OWN_LATENESS => return None,
        Err(_) => (Check::Timeout, format!("{endpoint}: no answer within {}", humantime::format_duration(timeout))),
    };
    Some(CheckResult { check, what, took })
}

/// Connects to an endpoint, and no more; to a port from one of `sources` addresses, as clients' connections do.
///
/// # Errors
///
/// If the endpoint cannot be reached, or is of a kind that cannot be connected to.
pub(in crate::supervisor) async fn connect(endpoint: &Endpoint, sources: u8) -> io::Result<OwnedFd> {
    let stream = match endpoint {
        Endpoint::Tcp(address) => connect_tcp(*address, sources).await?.into_std()?.into(),
        Endpoint::Unix(path) => UnixStream::connect(path).await?.into_std()?.into(),
        Endpoint::UnixOf(path, uid) => {
            let stream = UnixStream::connect(path).await?;
            peer::require(stream.as_fd(), *uid)?;
            stream.into_std()?.into()
        }
        Endpoint::Inherited | Endpoint::Channel => return Err(io::ErrorKind::Unsupported.into()),
    };
    Ok(stream)
}

async fn connect_tcp(address: SocketAddr, sources: u8) -> io::Result<TcpStream> {
    for source in 1..sources {
        match connect_from(address, source_address(source - 1)).await {
            Err(error) if is_used_up(&error) => {}
            connected => return connected,
        }
    }
    connect_from(address, source_address(sources.saturating_sub(1))).await
}

async fn connect_from(address: SocketAddr, from: Ipv4Addr) -> io::Result<TcpStream> {
    if from == Ipv4Addr::LOCALHOST {
        return TcpStream::connect(address).await;
    }
    let socket = TcpSocket::new_v4()?;
    bind_source(&socket, from)?;
    socket.connect(address).await
}

/// Returns true if a connect failed because this side lacks a resource. Without this, a master without a free
/// descriptor would find all its workers unhealthy.
fn is_our_own_lack(error: &io::Error) -> bool {
    is_exhausted(error) || error.raw_os_error() == Some(libc::EADDRNOTAVAIL)
}

async fn exchange(
    endpoint: &Endpoint,
    probe: &Probe,
    header: &[u8],
    surroundings: &impl Surroundings,
) -> io::Result<()> {
    let stream = connect(endpoint, surroundings.sources()).await?;
    let from = match endpoint {
        Endpoint::Tcp(_) => SockRef::from(&stream).local_addr()?.as_socket().map(PeerId::Address),
        _ => Some(PeerId::Inode(rustix::fs::fstat(&stream)?.st_ino)),
    };
    from.into_iter().for_each(|from| surroundings.connected(from));
    match endpoint {
        Endpoint::Tcp(_) => {
            let stream = TcpStream::from_std(std::net::TcpStream::from(stream))?;
            converse(stream, probe, header, from, surroundings).await
        }
        _ => {
            let stream = UnixStream::from_std(std::os::unix::net::UnixStream::from(stream))?;
            converse(stream, probe, header, from, surroundings).await
        }
    }
}

/// Waits until the program has taken the connection, or has sent bytes on it or ended it, which it cannot do before.
async fn taken(
    stream: &mut (impl AsyncRead + Unpin),
    from: PeerId,
    surroundings: &impl Surroundings,
) -> io::Result<()> {
    let (mut wait, longest) = TAKEN_LOOK;
    while !surroundings.is_taken(from) {
        // If the server closes its listener while the connection waits there, the connection is reset.
        match tokio::time::timeout(wait, stream.read_u8()).await {
            Err(_) => wait = (wait * 2).min(longest),
            Ok(Err(error)) if error.kind() != io::ErrorKind::UnexpectedEof => return Err(error),
            Ok(_) => break,
        }
    }
    Ok(())
}

pub(super) async fn converse(
    mut stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    probe: &Probe,
    header: &[u8],
    from: Option<PeerId>,
    surroundings: &impl Surroundings,
) -> io::Result<()> {
    let introduced = stream.write_all(header).await;
    let Probe::Http { path } = probe else {
        // A worker that ends the connection before it read the header is healthy all the same: that is timing.
        return match from {
            Some(from) => taken(&mut stream, from, surroundings).await,
            None => Ok(()),
        };
    };
    introduced?;
    let request = Request::get(path.as_str())
        .header("host", "localhost")
        .header("user-agent", "roundelay-probe")
        .header("connection", "close")
        .body(Empty::<bytes::Bytes>::new())
        .map_err(io::Error::other)?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
    // The connection must be driven while the answer is awaited; an answer that came together with its end still
    // counts.
    let mut answer = std::pin::pin!(sender.send_request(request));
    let answer = tokio::select! {
        biased;
        answer = &mut answer => answer,
        ended = connection => match ended {
            Ok(()) => answer.await,
            Err(error) => return Err(no_answer(path, &error)),
        },
    };
    let status = answer.map_err(|error| no_answer(path, &error))?.status();
    if status.is_success() || status.is_redirection() {
        return Ok(());
    }
    Err(io::Error::other(format!("GET {path} answered {status}")))
}

/// Returns the error of a request without an HTTP answer, with the most likely cause.
fn no_answer(path: &str, error: &hyper::Error) -> io::Error {
    let source = std::error::Error::source(error).map_or(String::new(), |source| format!(": {source}"));
    io::Error::other(format!(
        "GET {path}: no HTTP answer ({error}{source}); does it speak TLS there, or another protocol?"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::accept_queue::QueueReader;
    use tokio::net::TcpListener;

    const SECOND: Duration = Duration::from_secs(1);

    /// The kernel, asked directly.
    struct Kernel<'a>(&'a Endpoint);

    impl Surroundings for Kernel<'_> {
        fn sources(&self) -> u8 {
            1
        }

        fn connected(&self, _: PeerId) {}

        fn is_taken(&self, from: PeerId) -> bool {
            let mut reader = QueueReader::new().unwrap();
            match (self.0, from) {
                (Endpoint::Tcp(address), PeerId::Address(peer)) => reader.is_taken(*address, peer).unwrap(),
                _ => true,
            }
        }
    }

    async fn ask(endpoint: &Endpoint, probe: &Probe, timeout: Duration) -> Option<CheckResult> {
        super::ask(endpoint, probe, b"", timeout, &Kernel(endpoint)).await
    }

    /// Starts a worker that answers every connection with these bytes, or never.
    async fn worker(answer: Option<&'static str>) -> Endpoint {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                tokio::spawn(async move {
                    let Some(answer) = answer else { return std::future::pending().await };
                    let _ = stream.read(&mut [0; 1024]).await;
                    let _ = stream.write_all(answer.as_bytes()).await;
                });
            }
        });
        Endpoint::Tcp(address)
    }

    fn health() -> Probe {
        Probe::Http { path: "/health".into() }
    }

    #[tokio::test]
    async fn http_probe_accepts_status_200_to_399() {
        for (answer, check) in [
            ("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", Check::Ok),
            ("HTTP/1.1 302 Found\r\ncontent-length: 0\r\n\r\n", Check::Ok),
            ("HTTP/1.1 500 Oh\r\ncontent-length: 0\r\n\r\n", Check::Fail),
            ("not http\r\n\r\n", Check::Fail),
            ("", Check::Fail),
        ] {
            let result = ask(&worker(Some(answer)).await, &health(), SECOND).await.unwrap();
            assert_eq!(result.check, check, "{answer:?}: {}", result.what);
        }
    }

    #[tokio::test]
    async fn non_http_answer_asks_if_the_worker_speaks_tls() {
        for answer in ["\x15\x03\x03\0\x02\x02\x46", ""] {
            let result = ask(&worker(Some(answer)).await, &health(), SECOND).await.unwrap();
            assert!(result.what.contains("does it speak TLS there"), "{}", result.what);
        }
    }

    #[tokio::test]
    async fn silent_worker_passes_tcp_probe_and_fails_http_by_timeout() {
        let silent = worker(None).await;
        assert_eq!(ask(&silent, &Probe::Tcp, SECOND).await.unwrap().check, Check::Ok);
        let result = ask(&silent, &health(), Duration::from_millis(50)).await.unwrap();
        assert_eq!(result.check, Check::Timeout);
        assert!(result.what.contains("no answer within 50ms"), "{}", result.what);
    }

    #[tokio::test]
    async fn listener_that_accepts_no_connection_fails_tcp_probe() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = Endpoint::Tcp(listener.local_addr().unwrap());
        let result = ask(&endpoint, &Probe::Tcp, Duration::from_millis(200)).await.unwrap();
        assert_eq!(result.check, Check::Timeout);
        let accepting = tokio::spawn(async move {
            let _ = (listener.accept().await, listener.accept().await, std::future::pending::<()>().await);
        });
        assert_eq!(ask(&endpoint, &Probe::Tcp, SECOND).await.unwrap().check, Check::Ok);
        accepting.abort();
    }

    #[tokio::test]
    async fn worker_that_expects_a_proxy_header_gets_it_first() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = Endpoint::Tcp(listener.local_addr().unwrap());
        let worker = tokio::spawn(async move {
            let (mut asked, _) = listener.accept().await.unwrap();
            let mut tcp = String::new();
            asked.read_to_string(&mut tcp).await.unwrap();
            let (mut asked, _) = listener.accept().await.unwrap();
            let mut http = vec![0; 33];
            asked.read_exact(&mut http).await.unwrap();
            asked.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
            (tcp, String::from_utf8(http).unwrap())
        });
        let header = b"PROXY UNKNOWN\r\n";
        for probe in [Probe::Tcp, health()] {
            let result = super::ask(&endpoint, &probe, header, SECOND, &Kernel(&endpoint)).await.unwrap();
            assert_eq!(result.check, Check::Ok);
        }
        let expected = ("PROXY UNKNOWN\r\n".to_owned(), "PROXY UNKNOWN\r\nGET /health HTTP/1".to_owned());
        assert_eq!(worker.await.unwrap(), expected);
    }

    #[tokio::test]
    async fn dead_endpoint_is_named_with_its_cause() {
        let result = ask(&Endpoint::Unix("/nowhere/at.all".into()), &Probe::Tcp, SECOND).await.unwrap();
        assert_eq!(result.check, Check::Fail);
        assert!(result.what.starts_with("unix:/nowhere/at.all: No such file"), "{}", result.what);
    }
}
