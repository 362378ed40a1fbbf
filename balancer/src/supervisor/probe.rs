//! One question to a worker's endpoint: does it accept, or does it answer well?

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::AsFd;
use std::time::Duration;

use http_body_util::Empty;
use hyper::Request;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream, UnixStream};
use tokio::time::Instant;

use crate::config::Probe;
use crate::os::peer;
use crate::os::source_address::{bind_source, is_used_up};
use crate::rotation::{Endpoint, source_address};
use crate::stats::Check;

/// How much later than its own timeout a probe may be answered before the verdict says more about us than about the worker.
pub(super) const OUR_OWN_LATENESS: Duration = Duration::from_millis(500);

/// What a probe said.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Verdict {
    pub(super) check: Check,
    /// In words: `ok`, or what went wrong where.
    pub(super) what: String,
    pub(super) took: Duration,
}

/// Asks once, saying `header` first; empty if the worker expects none. A port is reached from one of that many `sources`,
/// the first that has a source port left. `None` if our own clock was so late, or our own
/// descriptors so few, that the verdict would be about this machine, not the worker.
pub(super) async fn ask(
    endpoint: &Endpoint,
    probe: &Probe,
    header: &[u8],
    timeout: Duration,
    sources: u8,
) -> Option<Verdict> {
    let begun = Instant::now();
    let answer = tokio::time::timeout(timeout, exchange(endpoint, probe, header, sources)).await;
    let took = begun.elapsed();
    let (check, what) = match answer {
        Ok(Ok(())) => (Check::Ok, "ok".to_owned()),
        Ok(Err(error)) if is_our_own_lack(&error) => return None,
        Ok(Err(error)) => (Check::Fail, format!("{endpoint}: {error}")),
        Err(_) if took > timeout + OUR_OWN_LATENESS => return None,
        Err(_) => (Check::Timeout, format!("{endpoint}: no answer within {}", humantime::format_duration(timeout))),
    };
    Some(Verdict { check, what, took })
}

/// Whether a connect failed for want of something on this side. A master without a free descriptor would otherwise find
/// all its workers sick.
fn is_our_own_lack(error: &io::Error) -> bool {
    let lacks = [libc::EMFILE, libc::ENFILE, libc::ENOBUFS, libc::ENOMEM, libc::EADDRNOTAVAIL];
    error.raw_os_error().is_some_and(|errno| lacks.contains(&errno))
}

async fn exchange(endpoint: &Endpoint, probe: &Probe, header: &[u8], sources: u8) -> io::Result<()> {
    match endpoint {
        Endpoint::Tcp(address) => converse(connect(*address, sources).await?, probe, header).await,
        Endpoint::Unix(path) => converse(UnixStream::connect(path).await?, probe, header).await,
        Endpoint::UnixOf(path, uid) => {
            let stream = UnixStream::connect(path).await?;
            peer::require(stream.as_fd(), *uid)?;
            converse(stream, probe, header).await
        }
        Endpoint::Inherited | Endpoint::Channel => Err(io::ErrorKind::Unsupported.into()),
    }
}

/// Connects to a loopback port, as clients' connections do where the source ports of 127.0.0.1 are used up.
async fn connect(address: SocketAddr, sources: u8) -> io::Result<TcpStream> {
    for source in 1..sources {
        let from = source_address(source - 1);
        match connect_from(address, from).await {
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

async fn converse(
    mut stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    probe: &Probe,
    header: &[u8],
) -> io::Result<()> {
    let introduced = stream.write_all(header).await;
    let Probe::Http { path } = probe else {
        // It accepted, which was the question. Whether it still took the header is a matter of moments, not of health.
        return Ok(());
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
    // The connection must be driven while the answer is awaited; an answer that came with its end still counts.
    let mut answer = std::pin::pin!(sender.send_request(request));
    let answer = tokio::select! {
        biased;
        answer = &mut answer => answer,
        ended = connection => match ended {
            Ok(()) => answer.await,
            Err(error) => return Err(io::Error::other(error)),
        },
    };
    let status = answer.map_err(io::Error::other)?.status();
    if status.is_success() || status.is_redirection() {
        return Ok(());
    }
    Err(io::Error::other(format!("GET {path} answered {status}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    const SECOND: Duration = Duration::from_secs(1);

    async fn ask(endpoint: &Endpoint, probe: &Probe, timeout: Duration) -> Option<Verdict> {
        super::ask(endpoint, probe, b"", timeout, 1).await
    }

    /// A worker that answers every connection with these bytes, or never.
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
    async fn an_http_probe_wants_200_to_399() {
        for (answer, check) in [
            ("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", Check::Ok),
            ("HTTP/1.1 302 Found\r\ncontent-length: 0\r\n\r\n", Check::Ok),
            ("HTTP/1.1 500 Oh\r\ncontent-length: 0\r\n\r\n", Check::Fail),
            ("not http\r\n\r\n", Check::Fail),
            ("", Check::Fail),
        ] {
            let verdict = ask(&worker(Some(answer)).await, &health(), SECOND).await.unwrap();
            assert_eq!(verdict.check, check, "{answer:?}: {}", verdict.what);
        }
    }

    #[tokio::test]
    async fn a_silent_worker_accepts_tcp_but_fails_http_by_timeout() {
        let silent = worker(None).await;
        assert_eq!(ask(&silent, &Probe::Tcp, SECOND).await.unwrap().check, Check::Ok);
        let verdict = ask(&silent, &health(), Duration::from_millis(50)).await.unwrap();
        assert_eq!(verdict.check, Check::Timeout);
        assert!(verdict.what.contains("no answer within 50ms"), "{}", verdict.what);
    }

    #[tokio::test]
    async fn a_worker_that_expects_a_header_gets_it_before_anything_else() {
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
            assert_eq!(super::ask(&endpoint, &probe, header, SECOND, 1).await.unwrap().check, Check::Ok);
        }
        let expected = ("PROXY UNKNOWN\r\n".to_owned(), "PROXY UNKNOWN\r\nGET /health HTTP/1".to_owned());
        assert_eq!(worker.await.unwrap(), expected);
    }

    #[tokio::test]
    async fn a_dead_endpoint_is_named_with_its_cause() {
        let verdict = ask(&Endpoint::Unix("/nowhere/at.all".into()), &Probe::Tcp, SECOND).await.unwrap();
        assert_eq!(verdict.check, Check::Fail);
        assert!(verdict.what.starts_with("unix:/nowhere/at.all: No such file"), "{}", verdict.what);
    }
}
