//! The demo worker as a process: signals, exit codes, inherited sockets. The process is this test binary itself.

use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use tokio::time::Instant;

use super::client::Client;
use super::*;
use crate::demo::faults::{IGNORE_TERM, START_DELAY};
use crate::protocol::NOTIFY_SOCKET;

const AS_A_PROCESS: &str = "DEMO_WORKER_TEST_PROCESS";

/// Runs the worker, if this process was started by a test below. Not a test by itself.
#[test]
fn worker_process_is_this_test_binary() {
    if std::env::var_os(AS_A_PROCESS).is_some() {
        let code = main();
        // An `ExitCode` does not return its number, but it can be compared.
        let number = (0..=u8::MAX).find(|number| code == ExitCode::from(*number)).expect("a number");
        std::process::exit(number.into());
    }
}

/// Starts this binary as a demo worker. It is started through a shell, which can name its own pid before it becomes the
/// worker.
pub(super) fn test_process(script: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", &format!("{script} exec \"$0\" \"$@\"")]).arg(std::env::current_exe().expect("exe"));
    command.args(["--exact", "demo::tests::process::worker_process_is_this_test_binary", "--nocapture"]);
    command.env(AS_A_PROCESS, "1").stdin(Stdio::null()).stdout(Stdio::piped());
    command
}

struct Process {
    child: Child,
    address: SocketAddr,
    /// Open as long as the process may write to standard output.
    _stdout: BufReader<ChildStdout>,
}

impl Process {
    fn start(script: &str, prepare: impl FnOnce(&mut Command)) -> Self {
        let mut command = test_process(script);
        prepare(&mut command);
        let mut child = command.spawn().expect("spawn");
        let mut stdout = BufReader::new(child.stdout.take().expect("stdout"));
        let line =
            stdout.by_ref().lines().map_while(Result::ok).find(|line| line.contains("listening on")).expect("a line");
        let address = line.rsplit(' ').next().and_then(|address| address.parse().ok()).expect("an address");
        Self { child, address, _stdout: stdout }
    }

    fn on_a_port() -> Self {
        Self::start("", |command| {
            command.env(PORT, "0");
        })
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("signal");
    }

    fn wait(mut self) -> ExitStatus {
        self.child.wait().expect("wait")
    }
}

#[test]
fn sigterm_ends_the_worker_with_exit_code_0() {
    let process = Process::on_a_port();
    let mut slow = Client::connect(process.address);
    slow.send("GET /slow/200 HTTP/1.1\r\nhost: demo\r\n\r\n");
    assert_eq!(Client::connect(process.address).request("GET", "/health").status, 200);
    process.signal(Signal::TERM);
    assert_eq!(slow.answer().header("connection"), Some("close"));
    assert_eq!(process.wait().code(), Some(0));
}

#[test]
fn crash_ends_the_worker_with_exit_code_1() {
    let process = Process::on_a_port();
    Client::connect(process.address).send("GET /crash HTTP/1.1\r\nhost: demo\r\n\r\n");
    assert_eq!(process.wait().code(), Some(1));
}

#[test]
fn hanging_worker_does_not_react_to_sigterm() {
    let mut process = Process::on_a_port();
    let mut client = Client::connect(process.address);
    client.send("GET /hang HTTP/1.1\r\nhost: demo\r\n\r\n");
    std::thread::sleep(Duration::from_millis(100));
    process.signal(Signal::TERM);
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!(process.child.try_wait().expect("wait"), None);
    assert!(!client.has_answer());
    process.signal(Signal::KILL);
    assert_eq!(process.wait().code(), None);
}

#[test]
fn waiting_clients_are_served_after_sigterm() {
    let process = Process::on_a_port();
    process.signal(Signal::STOP);
    // More clients than tokio lets a task accept without a pause.
    let mut clients: Vec<_> = (0..300).map(|_| Client::connect(process.address)).collect();
    clients.iter_mut().for_each(|client| client.send("GET / HTTP/1.1\r\nhost: demo\r\n\r\n"));
    process.signal(Signal::TERM);
    process.signal(Signal::CONT);
    for (i, client) in clients.iter_mut().enumerate() {
        // If the signal is seen before the connection, the answer says `Connection: close`. The order is not certain.
        assert_eq!(client.answer().status, 200, "client {i}");
        assert_eq!(client.rest(), "");
    }
    assert_eq!(process.wait().code(), Some(0));
}

#[test]
fn worker_told_to_ignore_sigterm_goes_on_serving() {
    let process = Process::start("", |command| {
        command.env(PORT, "0").env(IGNORE_TERM, "1");
    });
    let mut client = Client::connect(process.address);
    for _ in 0..3 {
        process.signal(Signal::TERM);
        let answer = client.request("GET", "/");
        assert_eq!((answer.status, answer.header("connection")), (200, None));
        assert_eq!(Client::connect(process.address).request("GET", "/").status, 200);
    }
    process.signal(Signal::KILL);
    assert_eq!(process.wait().code(), None);
}

#[test]
fn start_delay_passes_before_the_worker_listens() {
    let begun = Instant::now();
    let process = Process::start("", |command| {
        command.env(PORT, "0").env(START_DELAY, "300");
    });
    assert!(begun.elapsed() >= Duration::from_millis(300));
    assert_eq!(Client::connect(process.address).request("GET", "/health").status, 200);
    process.signal(Signal::TERM);
    assert_eq!(process.wait().code(), Some(0));
}

#[test]
fn failing_start_is_reported_and_exits_with_3() {
    let ended = ended(&[(FAIL_START, "1"), (START_DELAY, "10")]);
    assert_eq!(ended.0, Some(3));
    assert!(ended.1.contains("does not start, as DEMO_FAIL_START says"), "{}", ended.1);
}

#[test]
fn invalid_fault_is_refused_with_a_reason() {
    let ended = ended(&[(START_DELAY, "soon")]);
    assert_eq!(ended.0, Some(1));
    assert!(ended.1.contains("DEMO_START_DELAY must be a whole number of milliseconds; it is `soon`"), "{}", ended.1);
}

/// Runs a worker that ends before it listens. Returns its exit code and its standard error.
fn ended(environment: &[(&str, &str)]) -> (Option<i32>, String) {
    let notify = tempfile::tempdir().expect("folder");
    let path = notify.path().join("notify");
    let master = std::os::unix::net::UnixDatagram::bind(&path).expect("bind");
    master.set_nonblocking(true).expect("non-blocking");
    let mut command = test_process("");
    command.env(PORT, "0").env(NOTIFY_SOCKET, path).envs(environment.iter().copied());
    let output = command.output().expect("output");
    assert!(master.recv(&mut [0]).is_err(), "the worker was never ready");
    assert!(!String::from_utf8_lossy(&output.stdout).contains("listening on"));
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn inherited_socket_is_served_and_outlives_the_worker() {
    let folder = tempfile::tempdir().expect("folder");
    let notify = folder.path().join("notify");
    let master = std::os::unix::net::UnixDatagram::bind(&notify).expect("bind");
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
    let fd = OwnedFd::from(listener.try_clone().expect("clone"));
    let process = Process::start("exec 3<&0 </dev/null; export LISTEN_PID=$$;", |command| {
        command.env("LISTEN_FDS", "1").env(NOTIFY_SOCKET, &notify).stdin(fd);
    });
    assert_eq!(Some(process.address), listener.local_addr().ok());
    let mut said = [0; 64];
    let n = master.recv(&mut said).expect("a datagram");
    assert_eq!(&said[..n], b"READY=1\nX_ROUNDELAY_DRAIN=signal");
    assert_eq!(Client::connect(process.address).request("GET", "/health").status, 200);
    process.signal(Signal::TERM);
    let address = process.address;
    assert_eq!(process.wait().code(), Some(0));
    std::net::TcpStream::connect(address).expect("the socket outlives the worker");
}
