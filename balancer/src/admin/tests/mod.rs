//! Real HTTP over real sockets, with pools whose status is set by hand.

mod http;
mod metrics;
mod page;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use prometheus::Registry;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::commands::CommandRequest;
use super::control_socket::ControlSocket;
use super::{Context, Master, serve};
use crate::config::{self, Program};
use crate::pool::{ExitStatus, Pool, PoolStatus, SlotState};
use crate::rotation::AcceptState;

/// The longest time that a test waits for anything.
const PATIENCE: Duration = Duration::from_secs(30);

/// The number of commands that may wait in these tests.
pub(crate) const QUEUE: usize = 8;

/// A running admin server; it ends with the test.
pub(crate) struct Server {
    pub(crate) port: SocketAddr,
    pub(crate) control: PathBuf,
    pub(crate) pools: Vec<Arc<Pool>>,
    pub(crate) is_stopping: Arc<AtomicBool>,
    pub(crate) stop: CancellationToken,
    thread: Option<JoinHandle<()>>,
    _control_socket: Arc<ControlSocket>,
    _dir: tempfile::TempDir,
}

impl Server {
    pub(crate) fn start(pools: Vec<Arc<Pool>>) -> Self {
        Self::with_commands(pools).0
    }

    /// Starts the same, and returns the receiver of commands.
    pub(crate) fn with_commands(pools: Vec<Arc<Pool>>) -> (Self, mpsc::Receiver<CommandRequest>) {
        let (commands, request) = mpsc::channel(QUEUE);
        let dir = tempfile::tempdir().unwrap();
        let control = dir.path().join("control.sock");
        let control_socket = Arc::new(ControlSocket::open(&control).unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap();
        let is_stopping = Arc::new(AtomicBool::new(false));
        let context = context_of(pools.clone(), Some(port), &is_stopping).with_commands(commands);
        let context = Arc::new(context);
        let stop = CancellationToken::new();
        let socket = Arc::clone(&control_socket);
        let token = stop.clone();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(serve(context, Some(listener), Some(socket), token));
        });
        (
            Self {
                port,
                control,
                pools,
                is_stopping,
                stop,
                thread: Some(thread),
                _control_socket: control_socket,
                _dir: dir,
            },
            request,
        )
    }

    /// Sends `GET` to the admin port.
    pub(crate) fn get(&self, path: &str) -> Reply {
        self.ask(&format!("GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", self.port))
    }

    /// Sends raw bytes to the admin port.
    pub(crate) fn ask(&self, request: &str) -> Reply {
        let stream = self.connect();
        (&stream).write_all(request.as_bytes()).unwrap();
        Reply::read(stream)
    }

    pub(crate) fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.port).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    pub(crate) fn finish(&mut self) {
        self.stop.cancel();
        self.thread.take().unwrap().join().unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.cancel();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

pub(crate) fn context(pools: Vec<Arc<Pool>>, admin: Option<SocketAddr>, is_stopping: &Arc<AtomicBool>) -> Arc<Context> {
    Arc::new(context_of(pools, admin, is_stopping))
}

pub(crate) fn context_of(pools: Vec<Arc<Pool>>, admin: Option<SocketAddr>, is_stopping: &Arc<AtomicBool>) -> Context {
    let master = Master {
        version: "1.2.3".to_owned(),
        started: SystemTime::now(),
        admin,
        max_connections: Some(1000),
        is_stopping: Arc::clone(is_stopping),
    };
    Context::new(master, pools, Registry::new()).unwrap()
}

/// Sends `GET` to a control socket.
pub(crate) fn get_at(control: &Path, path: &str) -> Reply {
    let mut stream = UnixStream::connect(control).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: anything\r\nConnection: close\r\n\r\n").unwrap();
    Reply::read(stream)
}

/// A whole answer.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Reply {
    /// Reads an answer to the end of the connection.
    pub(crate) fn read(mut stream: impl Read) -> Self {
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).unwrap();
        let text = String::from_utf8(bytes).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer in {text:?}"));
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap();
        Self { status, head: head.to_ascii_lowercase(), body: body.to_owned() }
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }
}

/// Returns a pool with one ready worker (this process, so that its figures can be read) and one in backoff.
pub(crate) fn pool(name: &str) -> Arc<Pool> {
    let config = config::PoolConfig::new(name, Program::Demo);
    let pool = Pool::new(config, 2, 1, vec!["127.0.0.1:8080".parse().unwrap()]);
    let mut status = PoolStatus::new(2);
    status.accept_state = AcceptState::Open;
    let group = rustix::process::getpgrp().as_raw_nonzero().get();
    let ready = &mut status.workers[0];
    ready.state = SlotState::Ready;
    ready.pid = Some(u32::try_from(group).unwrap());
    ready.started = Some(SystemTime::now());
    let failing = &mut status.workers[1];
    failing.state = SlotState::Backoff;
    failing.backoff = Some(Duration::from_millis(1500));
    failing.last_exit = Some(ExitStatus {
        what: "exit code 3".to_owned(),
        why: None,
        code: 3,
        at: SystemTime::now(),
        last_lines: ["boom: missing DATABASE_URL".to_owned()].into(),
    });
    pool.status.store(Arc::new(status));
    Arc::new(pool)
}

/// Changes a pool's published status.
pub(crate) fn publish(pool: &Pool, change: impl FnOnce(&mut PoolStatus)) {
    let mut status = PoolStatus::clone(&pool.status.load());
    change(&mut status);
    pool.status.store(Arc::new(status));
}
