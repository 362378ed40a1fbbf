//! Sends a command and reads the lines of its answer as they come.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper::header::{CONNECTION, CONTENT_TYPE, HOST};
use hyper::{Method, Request, Response, body::Incoming};
use hyper_util::rt::TokioIo;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::{Instant, timeout, timeout_at};

use super::{ControlAddress, LONGEST_ANSWER, Reply, stranger, stranger_at, unreachable_at};
use crate::failure::{Failure, code};

/// The time to connect, and then to the first byte of the answer. Before that byte the master may read its
/// configuration.
const FIRST_BYTE: Duration = Duration::from_secs(10);

/// The longest line of an answer, in bytes.
const LONGEST_LINE: usize = 4 * 1024 * 1024;

/// The result of a command.
#[derive(Debug)]
pub(in crate::cli) enum CommandResponse {
    /// The command was not begun.
    Refused(Reply),
    /// The command is over, and every line was passed on. Holds the master's process, if the kernel reported it.
    Over(Option<OwnedFd>),
}

/// Posts `body` to `path` at `control`, and passes each line of the answer to `line`, until `deadline` if there is one.
///
/// # Errors
///
/// With [`code::NO_MASTER`] if nothing answers there, [`code::REFUSED`] if the socket is another user's,
/// [`code::TIMED_OUT`] at the deadline, [`code::FAILED`] if the answer ends in the middle.
pub(in crate::cli) fn post(
    control: &Path,
    path: &str,
    body: String,
    deadline: Option<Instant>,
    mut line: impl FnMut(&[u8]),
) -> Result<CommandResponse, Failure> {
    let address = ControlAddress::parse(control)?;
    let failed =
        |cause: String| Failure::new(code::FAILED, format!("no answer from the master at {address}")).cause(cause);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| failed(error.to_string()))?;
    let answered = runtime.block_on(async {
        let asking = ask(&address, path, body, &mut line);
        match deadline {
            None => asking.await,
            Some(deadline) => timeout_at(deadline, asking).await.unwrap_or(Err(ClientError::Deadline)),
        }
    });
    runtime.shutdown_background();
    answered.map_err(|trouble| match trouble {
        ClientError::Connect(error) => unreachable_at(&address, &error),
        ClientError::Stranger(uid) => stranger_at(&format!("the command was not sent to {address}"), uid),
        ClientError::BadResponse(cause) => failed(cause),
        ClientError::Broken(cause) => Failure::new(code::FAILED, "the master's answer ended in the middle")
            .cause(cause)
            .hint("has the master ended? see `roundelay status` and the log of the master"),
        ClientError::Deadline => Failure::new(code::TIMED_OUT, "the command did not finish within --timeout")
            .hint("it goes on: see `roundelay status`"),
    })
}

enum ClientError {
    Connect(io::Error),
    /// The uid of the foreign process that listens there.
    Stranger(u32),
    /// As far as is known, the command was not begun.
    BadResponse(String),
    /// The command was begun, and its result is not known.
    Broken(String),
    Deadline,
}

async fn ask(
    address: &ControlAddress,
    path: &str,
    body: String,
    line: &mut impl FnMut(&[u8]),
) -> Result<CommandResponse, ClientError> {
    let late = |_| io::Error::from(io::ErrorKind::TimedOut);
    match address {
        ControlAddress::Socket(socket) => {
            let connecting = timeout(FIRST_BYTE, UnixStream::connect(socket));
            let stream = connecting.await.map_err(late).flatten().map_err(ClientError::Connect)?;
            let peer = stream.peer_cred().map_err(ClientError::Connect)?;
            if let Some(uid) = stranger(&stream, socket).map_err(ClientError::Connect)? {
                return Err(ClientError::Stranger(uid));
            }
            // Opened before the command is sent: afterwards the pid may belong to another process.
            let master = peer.pid().and_then(Pid::from_raw).and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok());
            exchange(stream, "localhost", path, body, line).await.map(|refused| CommandResponse::new(refused, master))
        }
        ControlAddress::Http(authority) => {
            let connecting = timeout(FIRST_BYTE, TcpStream::connect(authority.as_str()));
            let stream = connecting.await.map_err(late).flatten().map_err(ClientError::Connect)?;
            exchange(stream, authority, path, body, line).await.map(|refused| CommandResponse::new(refused, None))
        }
    }
}

impl CommandResponse {
    fn new(refused: Option<Reply>, master: Option<OwnedFd>) -> Self {
        refused.map_or(CommandResponse::Over(master), CommandResponse::Refused)
    }
}

async fn exchange<S>(
    stream: S,
    host: &str,
    path: &str,
    body: String,
    line: &mut impl FnMut(&[u8]),
) -> Result<Option<Reply>, ClientError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let answer = |error: hyper::Error| ClientError::BadResponse(error.to_string());
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(answer)?;
    let request = Request::builder().method(Method::POST).uri(path).header(HOST, host).header(CONNECTION, "close");
    let request = request.header(CONTENT_TYPE, "application/json").body(Full::new(Bytes::from(body)));
    let request = request.map_err(|error| ClientError::BadResponse(error.to_string()))?;
    let exchange = async {
        let answered = timeout(FIRST_BYTE, sender.send_request(request)).await;
        let answered =
            answered.map_err(|_| ClientError::BadResponse(format!("it took more than {} s", FIRST_BYTE.as_secs())))?;
        let answered = answered.map_err(answer)?;
        if answered.status() != 200 {
            let status = answered.status().as_u16();
            let body = timeout(FIRST_BYTE, Limited::new(answered.into_body(), LONGEST_ANSWER).collect()).await;
            let body = body.map_err(|_| ClientError::BadResponse("it ended in the middle".to_owned()))?;
            let body = body.map_err(|error| ClientError::BadResponse(error.to_string()))?.to_bytes();
            return Ok(Some(Reply { status, body }));
        }
        read_lines(answered, line).await.map(|()| None)
    };
    let mut exchange = std::pin::pin!(exchange);
    tokio::select! {
        done = &mut exchange => return done,
        _ = connection => {}
    }
    exchange.await
}

/// Passes on each line as it comes.
async fn read_lines(answer: Response<Incoming>, line: &mut impl FnMut(&[u8])) -> Result<(), ClientError> {
    let (mut body, mut partial) = (answer.into_body(), Vec::new());
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| ClientError::Broken(error.to_string()))?;
        let Ok(data) = frame.into_data() else { continue };
        for piece in data.split_inclusive(|&byte| byte == b'\n') {
            partial.extend_from_slice(piece);
            if partial.last() == Some(&b'\n') {
                line(&partial);
                partial.clear();
            } else if partial.len() > LONGEST_LINE {
                return Err(ClientError::Broken("one of its lines is too long".to_owned()));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::unix::net::UnixListener;
    use std::path::PathBuf;

    use super::*;

    /// Starts a listener that reads a request and sends this answer. If `holds`, it then waits until the client closes.
    fn says(answer: &'static str, holds: bool) -> (tempfile::TempDir, PathBuf, std::thread::JoinHandle<String>) {
        let address = tempfile::tempdir().unwrap();
        let socket = address.path().join("c");
        let listener = UnixListener::bind(&socket).unwrap();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 4096];
            let length = stream.read(&mut request).unwrap();
            stream.write_all(answer.as_bytes()).unwrap();
            if holds {
                let _ = stream.read(&mut [0; 1]);
            }
            String::from_utf8_lossy(&request[..length]).into_owned()
        });
        (address, socket, server)
    }

    fn command(socket: &Path, within: Option<Duration>) -> (Result<CommandResponse, Failure>, Vec<String>) {
        let mut lines = Vec::new();
        let line = |line: &[u8]| lines.push(String::from_utf8_lossy(line).into_owned());
        let deadline = within.map(|within| Instant::now() + within);
        let answer = post(socket, "/api/v1/reload", "{}".to_owned(), deadline, line);
        (answer, lines)
    }

    const STREAM: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";

    #[test]
    fn lines_are_passed_on_whole_however_they_come() {
        let answer =
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n{\"a\"\r\n6\r\n:1}\n{}\r\n1\r\n\n\r\n0\r\n\r\n";
        let (_place, socket, server) = says(answer, false);
        let (answer, lines) = command(&socket, None);
        assert!(matches!(answer, Ok(CommandResponse::Over(Some(_)))), "{answer:?}");
        assert_eq!(lines, ["{\"a\":1}\n", "{}\n"]);
        let request = server.join().unwrap().to_ascii_lowercase();
        assert!(
            request.starts_with("post /api/v1/reload http/1.1\r\n") && request.ends_with("\r\n\r\n{}"),
            "{request}"
        );
        assert!(request.contains("content-type: application/json\r\n"), "{request}");
    }

    #[test]
    fn refusal_is_passed_on_with_its_status() {
        let (_place, socket, server) = says("HTTP/1.1 409 Conflict\r\nContent-Length: 2\r\n\r\n{}", false);
        let (answer, lines) = command(&socket, None);
        assert!(matches!(&answer, Ok(CommandResponse::Refused(reply)) if reply.status == 409), "{answer:?}");
        assert!(lines.is_empty());
        server.join().unwrap();
    }

    #[test]
    fn truncated_answer_is_a_failure() {
        let (_place, socket, server) =
            says("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n{}\n\r\n", false);
        let (answer, lines) = command(&socket, None);
        let failure = answer.unwrap_err();
        assert_eq!((failure.code, lines.len()), (code::FAILED, 1), "{failure}");
        assert!(failure.error.contains("ended in the middle"));
        server.join().unwrap();
    }

    #[test]
    fn deadline_has_its_own_exit_code() {
        let (_place, socket, server) = says(STREAM, true);
        let (answer, _) = command(&socket, Some(Duration::from_millis(50)));
        assert_eq!(answer.unwrap_err().code, code::TIMED_OUT);
        server.join().unwrap();
    }
}
