//! Asks a running master over HTTP: on its control socket, or at `http://HOST:PORT`.

mod post;

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1;
use hyper::header::{CONNECTION, HOST};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

use crate::admin::control_socket::master_without_socket;
use crate::failure::{Failure, code};

pub(super) use post::{CommandResponse, post};

/// The time for one request, from connect to the last byte of the answer.
const DEADLINE: Duration = Duration::from_secs(5);

/// The largest answer, in bytes: more than the state of a master with thousands of workers.
const LONGEST_ANSWER: usize = 64 * 1024 * 1024;

/// The address of a master's HTTP server.
#[derive(Clone, Debug, PartialEq, Eq)]
enum ControlAddress {
    Socket(PathBuf),
    /// Host and port.
    Http(String),
}

/// The master's answer.
#[derive(Debug)]
pub(super) struct Reply {
    /// The HTTP status.
    pub(super) status: u16,
    /// The body.
    pub(super) body: Bytes,
}

/// Gets `path` from `control`, which is the path of a control socket or `http://HOST:PORT`.
///
/// # Errors
///
/// With [`code::NO_MASTER`] if nothing answers there, [`code::REFUSED`] if the socket is another user's,
/// [`code::FAILED`] if there is no complete answer within 5 s.
pub(super) fn get(control: &Path, path: &str) -> Result<Reply, Failure> {
    let address = ControlAddress::parse(control)?;
    let failed =
        |cause: String| Failure::new(code::FAILED, format!("no answer from the master at {address}")).cause(cause);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| failed(error.to_string()))?;
    let answer = runtime.block_on(async {
        timeout(DEADLINE, ask(&address, path))
            .await
            .unwrap_or_else(|_| Err(ClientError::BadResponse("it took more than 5 s".into())))
    });
    // Does not wait for a name lookup that is still running.
    runtime.shutdown_background();
    answer.map_err(|trouble| match trouble {
        ClientError::Connect(error) => unreachable_at(&address, &error),
        ClientError::Stranger(uid) => stranger_at(&format!("no request was sent to {address}"), uid),
        ClientError::BadResponse(cause) => failed(cause),
    })
}

enum ClientError {
    Connect(io::Error),
    /// The uid of the foreign process that listens there.
    Stranger(u32),
    BadResponse(String),
}

impl From<hyper::Error> for ClientError {
    fn from(error: hyper::Error) -> Self {
        Self::BadResponse(error.to_string())
    }
}

async fn ask(address: &ControlAddress, path: &str) -> Result<Reply, ClientError> {
    match address {
        ControlAddress::Socket(socket) => {
            let stream = UnixStream::connect(socket).await.map_err(ClientError::Connect)?;
            stranger(&stream, socket)
                .map_err(ClientError::Connect)?
                .map_or(Ok(()), |uid| Err(ClientError::Stranger(uid)))?;
            exchange(stream, "localhost", path).await
        }
        ControlAddress::Http(authority) => {
            let stream = TcpStream::connect(authority.as_str()).await.map_err(ClientError::Connect)?;
            exchange(stream, authority, path).await
        }
    }
}

async fn exchange<S>(stream: S, host: &str, path: &str) -> Result<Reply, ClientError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let request = Request::builder().method(Method::GET).uri(path).header(HOST, host).header(CONNECTION, "close");
    let request = request.body(Empty::<Bytes>::new()).map_err(|error| ClientError::BadResponse(error.to_string()))?;
    let answer = async {
        let answer = sender.send_request(request).await?;
        let status = answer.status().as_u16();
        let body = Limited::new(answer.into_body(), LONGEST_ANSWER).collect().await;
        let body = body.map_err(|error| ClientError::BadResponse(error.to_string()))?.to_bytes();
        Ok(Reply { status, body })
    };
    let mut answer = std::pin::pin!(answer);
    // Drives the connection while the answer is awaited. Its own result adds nothing to the answer's.
    tokio::select! {
        answer = &mut answer => return answer,
        _ = connection => {}
    }
    answer.await
}

impl ControlAddress {
    fn parse(control: &Path) -> Result<Self, Failure> {
        let Some(text) = control.to_str() else { return Ok(Self::Socket(control.to_owned())) };
        let wrong = |hint: &str| Err(Failure::new(code::USAGE, format!("cannot ask a master at {text}")).hint(hint));
        if text.starts_with("https://") {
            return wrong("the admin port speaks plain HTTP: write http://HOST:PORT");
        }
        let Some(authority) = text.strip_prefix("http://") else { return Ok(Self::Socket(control.to_owned())) };
        let authority = authority.strip_suffix('/').unwrap_or(authority);
        let port = authority.rsplit_once(':').filter(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok());
        if port.is_none() || authority.contains(['/', '@', '?', '#']) {
            return wrong("write http://HOST:PORT, such as http://127.0.0.1:9900");
        }
        Ok(Self::Http(authority.to_owned()))
    }
}

impl std::fmt::Display for ControlAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            ControlAddress::Socket(path) => path.display().fmt(f),
            ControlAddress::Http(authority) => write!(f, "http://{authority}"),
        }
    }
}

/// Returns the uid of the process that listens at `socket` if that process must not be trusted; `None` if it may be.
fn stranger(stream: &UnixStream, socket: &Path) -> io::Result<Option<u32>> {
    let peer = stream.peer_cred()?.uid();
    let own = rustix::process::geteuid().as_raw();
    let owner = || std::fs::metadata(socket).ok().map(|file| file.uid());
    Ok((!is_trusted(peer, own, owner)).then_some(peer))
}

/// Returns true if user `own` may trust a listener of user `peer`: if it is our own or root's. Root also trusts the
/// listener of a service's user if the socket belongs to that user.
fn is_trusted(peer: u32, own: u32, owner: impl FnOnce() -> Option<u32>) -> bool {
    peer == own || peer == 0 || (own == 0 && owner() == Some(peer))
}

fn stranger_at(error: &str, uid: u32) -> Failure {
    Failure::new(code::REFUSED, error)
        .cause(format!("a process of another user (uid {uid}) listens there"))
        .hint("run this as the user that runs the master, or as root")
}

fn unreachable_at(address: &ControlAddress, error: &io::Error) -> Failure {
    let reason = match error.kind() {
        io::ErrorKind::NotFound => "no such file".to_owned(),
        io::ErrorKind::ConnectionRefused => "no process listens there".to_owned(),
        io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        _ => error.to_string(),
    };
    if let ControlAddress::Socket(path) = address
        && let Some(pid) = master_without_socket(path)
    {
        let what = format!("the master (process {pid}) has lost its control socket {address}");
        return Failure::new(code::NO_MASTER, what)
            .cause("another program removed it")
            .hint("try again in a moment: the master creates it again");
    }
    let failure = match (address, error.kind()) {
        (ControlAddress::Socket(_), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
            format!("no master is running (control socket {address}: {reason})")
        }
        (ControlAddress::Socket(_), _) => format!("the master cannot be reached (control socket {address}: {reason})"),
        (ControlAddress::Http(_), _) => format!("no master can be reached (admin port {address}: {reason})"),
    };
    let hint = match error.kind() {
        io::ErrorKind::PermissionDenied => "run this as the user that runs the master, or as root",
        _ => "start one with `roundelay run`, or point to it with --control",
    };
    Failure::new(code::NO_MASTER, failure).hint(hint)
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn paths_and_urls_are_told_apart() {
        let parse = |text: &str| ControlAddress::parse(Path::new(text)).map_err(|failure| failure.code);
        assert_eq!(parse("/run/x.sock"), Ok(ControlAddress::Socket("/run/x.sock".into())));
        assert_eq!(parse("http://127.0.0.1:9900"), Ok(ControlAddress::Http("127.0.0.1:9900".into())));
        assert_eq!(parse("http://[::1]:9900/"), Ok(ControlAddress::Http("[::1]:9900".into())));
        for text in
            ["http://", "http://:1", "http://host", "http://host:x", "http://h:1/path", "http://a@h:1", "https://h:1"]
        {
            assert_eq!(parse(text), Err(code::USAGE), "{text}");
        }
    }

    #[test]
    fn without_a_master_the_message_names_the_socket_and_what_to_do() {
        let address = tempfile::tempdir().unwrap();
        let socket = address.path().join("control.sock");
        let failure = get(&socket, "/").unwrap_err();
        assert_eq!(failure.code, code::NO_MASTER);
        let expected = format!("no master is running (control socket {}: no such file)", socket.display());
        assert_eq!(failure.error, expected);
        assert!(failure.hint.unwrap().contains("roundelay run"));

        drop(UnixListener::bind(&socket).unwrap());
        let failure = get(&socket, "/").unwrap_err();
        assert_eq!(failure.code, code::NO_MASTER);
        assert!(failure.error.contains("no process listens there"), "{failure}");
    }

    #[test]
    fn http_address_is_asked_too() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 1024];
            let length = stream.read(&mut request).unwrap();
            stream.write_all(b"HTTP/1.1 503 x\r\nContent-Length: 5\r\n\r\nworse").unwrap();
            String::from_utf8_lossy(&request[..length]).into_owned()
        });
        let reply = get(Path::new(&format!("http://{address}")), "/readyz").unwrap();
        assert_eq!((reply.status, &reply.body[..]), (503, &b"worse"[..]));
        let request = server.join().unwrap().to_ascii_lowercase();
        assert!(request.starts_with("get /readyz http/1.1\r\n") && request.contains(&format!("host: {address}\r\n")));
    }

    #[test]
    fn half_an_answer_is_a_failure_and_not_a_missing_master() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let _ = stream.read(&mut [0; 1024]).unwrap();
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\nhal").unwrap();
        });
        let failure = get(Path::new(&format!("http://{address}")), "/").unwrap_err();
        assert_eq!(failure.code, code::FAILED, "{failure}");
        server.join().unwrap();
    }

    #[test]
    fn own_user_and_root_are_trusted_and_root_trusts_the_owner() {
        let owned_by = |uid| move || Some(uid);
        assert!(is_trusted(1000, 1000, || None) && is_trusted(0, 1000, || None) && is_trusted(0, 0, || None));
        assert!(!is_trusted(33, 1000, owned_by(33)));
        assert!(is_trusted(33, 0, owned_by(33)) && !is_trusted(33, 0, owned_by(0)) && !is_trusted(33, 0, || None));
    }

    /// Makes a listener as if that user had called `listen`. Needs root.
    fn listen_as(uid: u32, path: &Path) -> socket2::Socket {
        let listener = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None).unwrap();
        listener.bind(&socket2::SockAddr::unix(path).unwrap()).unwrap();
        let theirs = std::thread::spawn(move || {
            let uid = rustix::process::Uid::from_raw(uid);
            rustix::thread::set_thread_res_uid(uid, uid, uid).unwrap();
            listener.listen(1).unwrap();
            listener
        });
        theirs.join().unwrap()
    }

    #[test]
    fn another_users_socket_is_not_asked() {
        if !rustix::process::geteuid().is_root() {
            println!("skipped: needs root");
            return;
        }
        let address = tempfile::tempdir().unwrap();
        let socket = address.path().join("c");
        let listener = listen_as(12_345, &socket);
        let failure = get(&socket, "/").unwrap_err();
        assert_eq!(failure.code, code::REFUSED, "{failure}");
        assert!(failure.cause.is_some_and(|cause| cause.contains("uid 12345")));
        drop(listener);
    }
}
