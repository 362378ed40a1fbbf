//! The two listeners: accepts connections and speaks HTTP/1 on them, within limits.
//!
//! A client can hold one of few connections, for a limited time and with a limited amount of memory. It never delays a
//! client's bytes or a health decision, since all of this runs on a thread of its own.

use std::convert::Infallible;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, error, warn};

use super::commands::CommandClient;
use super::connection_context::{ApiListener, ConnectionContext, Peer};
use super::context::Context;
use super::control::ControlListener;
use super::control_socket::ControlSocket;
use super::routes;

/// The number of connections open at once on each listener; more wait in the kernel.
pub(super) const MAX_CONNECTIONS: usize = 32;
/// The time from the first byte of a request to the end of its headers; also the time that a connection may be idle.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);
/// The age at which a connection gets no further request, so that none keeps its permit forever.
const LIFE: Duration = Duration::from_secs(60);
/// The time for the answer under way when a connection has to end.
const LAST_ANSWER: Duration = Duration::from_secs(2);
const MAX_HEADER_BYTES: usize = 16 * 1024;
const MAX_HEADERS: usize = 64;
/// The pause after an `accept` that failed for lack of descriptors or memory: trying again at once would only burn CPU.
const PAUSE: Duration = Duration::from_millis(100);

/// Serves both listeners until `stop`, then gives answers under way 2 s to finish.
///
/// Meant for a current-thread runtime on a thread of its own: a request may read `/proc` and block that thread for
/// milliseconds.
pub async fn serve(
    context: Arc<Context>,
    tcp: Option<std::net::TcpListener>,
    control: Option<Arc<ControlSocket>>,
    stop: CancellationToken,
) {
    let port = adopt(tcp, |listener| {
        listener.set_nonblocking(true)?;
        TcpListener::from_std(listener)
    });
    let control = adopt(control, ControlListener::new);
    let port = async {
        if let Some(listener) = port {
            let accept = async || listener.accept().await.map(|(stream, _)| Some((stream, ApiListener::AdminPort)));
            serve_listener(&context, "port", &stop, accept).await;
        }
    };
    let control = async {
        if let Some(listener) = control {
            let accept = async || {
                let stream = listener.accept().await?;
                Ok(trusted(&stream).map(|peer| (stream, ApiListener::ControlSocket(peer))))
            };
            tokio::select! {
                () = serve_listener(&context, "control", &stop, accept) => {}
                () = listener.keep() => {}
            }
        }
    };
    tokio::join!(port, control);
}

fn adopt<S, T>(listener: Option<S>, adopt: impl FnOnce(S) -> io::Result<T>) -> Option<T> {
    adopt(listener?).inspect_err(|cause| error!(%cause, "cannot use an admin listener")).ok()
}

/// Returns the process at the other end if it runs as our user or root. The socket's mode lets no other in, but the
/// mode may have been changed.
fn trusted(stream: &tokio::net::UnixStream) -> Option<Peer> {
    let own = rustix::process::geteuid().as_raw();
    match stream.peer_cred() {
        Ok(peer) if peer.uid() == own || peer.uid() == 0 => {
            Some(Peer { uid: peer.uid(), pid: peer.pid(), client: CommandClient::of(stream) })
        }
        Ok(peer) => {
            warn!(uid = peer.uid(), pid = peer.pid(), "control socket: another user's process rejected");
            None
        }
        Err(cause) => {
            warn!(%cause, "control socket: client could not be identified and was rejected");
            None
        }
    }
}

/// Accepts until `stop`; no error ends it. `None` stands for a client that is rejected.
async fn serve_listener<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    context: &Arc<Context>,
    name: &'static str,
    stop: &CancellationToken,
    accept: impl AsyncFn() -> io::Result<Option<(S, ApiListener)>>,
) {
    let permits = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let connections = TaskTracker::new();
    loop {
        // Takes a permit first: a connection without one waits in the kernel, not in our memory.
        let next = async {
            let permit = Arc::clone(&permits).acquire_owned().await;
            (permit, accept().await)
        };
        let (permit, accepted) = tokio::select! {
            () = stop.cancelled() => break,
            next = next => next,
        };
        match accepted {
            Ok(Some((stream, listener))) => {
                let connection = connection(Arc::clone(context), listener, stream, stop.clone());
                connections.spawn(async move {
                    connection.await;
                    drop(permit);
                });
            }
            Ok(None) => {}
            Err(cause) if cause.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(cause) => {
                warn!(%cause, listener = name, "cannot accept a connection on an admin listener");
                tokio::select! {
                    () = stop.cancelled() => break,
                    () = sleep(PAUSE) => {}
                }
            }
        }
    }
    connections.close();
    connections.wait().await;
}

async fn connection<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    context: Arc<Context>,
    listener: ApiListener,
    stream: S,
    stop: CancellationToken,
) {
    let connection_context = ConnectionContext::new(listener);
    let service = service_fn(|request| async {
        Ok::<_, Infallible>(routes::answer(&context, &connection_context, request).await)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_headers(MAX_HEADERS)
        .max_buf_size(MAX_HEADER_BYTES)
        // A client that closes its sending side after the request (`nc -N`) still gets the answer.
        .half_close(true)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    tokio::select! {
        ended = connection.as_mut() => return log(ended),
        () = stop.cancelled() => {}
        () = sleep(LIFE) => {}
    }
    connection.as_mut().graceful_shutdown();
    loop {
        match timeout(LAST_ANSWER, connection.as_mut()).await {
            Ok(ended) => return log(ended),
            // A client that watches a command keeps its permit until the command is over: a reload may take longer than
            // the age limit of connections.
            Err(_) if connection_context.is_under_way() && !stop.is_cancelled() => {}
            Err(_) => return,
        }
    }
}

/// Logs the end of a connection at `debug`: an error of a client is not an error of the master.
fn log(ended: hyper::Result<()>) {
    if let Err(cause) = ended {
        debug!(%cause, "an admin connection ended");
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
    use tokio::time::Instant;

    use super::*;
    use crate::admin::tests::{context, context_of, pool};

    fn one_pool() -> Arc<Context> {
        context(vec![pool("api")], None, &Arc::default())
    }

    #[tokio::test(start_paused = true)]
    async fn accept_errors_never_end_the_listener_and_emfile_pauses_it() {
        let (mut client, stream) = duplex(64 * 1024);
        let error = |errno: rustix::io::Errno| Err(io::Error::from(errno));
        use rustix::io::Errno;
        // Taken from the back: the client comes last.
        let script: Vec<io::Result<Option<(DuplexStream, ApiListener)>>> = vec![
            Ok(Some((stream, ApiListener::AdminPort))),
            Ok(None),
            error(Errno::CONNABORTED),
            error(Errno::NFILE),
            error(Errno::MFILE),
        ];
        let script = Mutex::new(script);
        let accept = async || {
            let next = script.lock().unwrap().pop();
            match next {
                Some(next) => next,
                None => std::future::pending().await,
            }
        };
        let (context, stop, began) = (one_pool(), CancellationToken::new(), Instant::now());
        let asking = async {
            client.write_all(b"GET /livez HTTP/1.0\r\n\r\n").await.unwrap();
            let mut answer = String::new();
            client.read_to_string(&mut answer).await.unwrap();
            stop.cancel();
            (answer, began.elapsed())
        };
        let ((), (answer, elapsed)) = tokio::join!(serve_listener(&context, "port", &stop, accept), asking);
        assert!(answer.starts_with("HTTP/1.0 200"), "{answer}");
        assert!(elapsed >= 2 * PAUSE, "{elapsed:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn client_that_does_not_read_its_answer_is_disconnected() {
        let (mut client, stream) = duplex(64);
        client.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").await.unwrap();
        let began = Instant::now();
        connection(one_pool(), ApiListener::AdminPort, stream, CancellationToken::new()).await;
        assert!(began.elapsed() <= LIFE + 2 * LAST_ANSWER, "{:?}", began.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn client_that_asks_forever_is_disconnected_after_an_answer() {
        let (mut client, stream) = duplex(64 * 1024);
        let asking = async {
            let mut answers = 0;
            let mut answer = [0; 4096];
            loop {
                let written = client.write_all(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
                if written.is_err() || client.read(&mut answer).await.unwrap() == 0 {
                    return answers;
                }
                answers += 1;
                sleep(Duration::from_secs(1)).await;
            }
        };
        let served = connection(one_pool(), ApiListener::AdminPort, stream, CancellationToken::new());
        let ((), answers) = tokio::join!(served, asking);
        assert!((55..=65).contains(&answers), "{answers}");
    }

    #[tokio::test(start_paused = true)]
    async fn long_command_is_reported_to_its_end() {
        use crate::admin::commands::{CommandRequest, CommandUpdate};

        let (sender, mut commands) = tokio::sync::mpsc::channel(1);
        let context = Arc::new(context_of(vec![pool("api")], None, &Arc::default()).with_commands(sender));
        let (mut client, stream) = duplex(64 * 1024);
        let carrying_out = async {
            let CommandRequest { reply, .. } = commands.recv().await.unwrap();
            for _ in 0..5 {
                reply.send(CommandUpdate::Stopping).unwrap();
                sleep(LIFE).await;
            }
        };
        let asking = async {
            client.write_all(b"POST /api/v1/shutdown HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
            let mut answer = String::new();
            client.read_to_string(&mut answer).await.unwrap();
            answer
        };
        let listener = ApiListener::ControlSocket(Peer { uid: 0, pid: None, client: CommandClient::default() });
        let served = connection(context, listener, stream, CancellationToken::new());
        let ((), answer, ()) = tokio::join!(served, asking, carrying_out);
        assert_eq!(answer.matches("stopping").count(), 5, "{answer}");
        assert!(answer.ends_with("0\r\n\r\n"), "{answer}");
    }
}
