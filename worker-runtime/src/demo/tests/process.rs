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

/// Not a test by itself: what the processes below run.
#[test]
fn as_a_process() {
    if std::env::var_os(AS_A_PROCESS).is_some() {
        let code = main();
        // An exit code does not tell its number, but can be compared.
        let number = (0..=u8::MAX).find(|number| code == ExitCode::from(*number)).expect("a number");
        std::process::exit(number.into());
    }
}

/// This binary as a demo worker, through a shell, so that it can name its own pid before it becomes the worker.
pub(super) fn test_process(script: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", &format!("{script} exec \"$0\" \"$@\"")]).arg(std::env::current_exe().expect("exe"));
    command.args(["--exact", "demo::tests::process::as_a_process", "--nocapture"]);
    command.env(AS_A_PROCESS, "1").stdin(Stdio::null()).stdout(Stdio::piped());
    command
}

struct Process {
    child: Child,
    address: SocketAddr,
    /// Open as long as the process may write to it.
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
fn sigterm_ends_it_with_exit_code_0() {
    let process = Process::on_a_port();
    let mut slow = Client::connect(process.address);
    slow.send("GET /slow/200 HTTP/1.1\r\nhost: demo\r\n\r\n");
    assert_eq!(Client::connect(process.address).request("GET", "/health").status, 200);
    process.signal(Signal::TERM);
    assert_eq!(slow.answer().header("connection"), Some("close"));
    assert_eq!(process.wait().code(), Some(0));
}

#[test]
fn a_crash_is_exit_code_1() {
    let process = Process::on_a_port();
    Client::connect(process.address).send("GET /crash HTTP/1.1\r\nhost: demo\r\n\r\n");
    assert_eq!(process.wait().code(), Some(1));
}

#[test]
fn a_hanging_worker_does_not_even_hear_sigterm() {
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
fn whoever_waits_in_its_queue_at_sigterm_is_served() {
    let process = Process::on_a_port();
    process.signal(Signal::STOP);
    // More than tokio lets a task accept in one go.
    let mut clients: Vec<_> = (0..300).map(|_| Client::connect(process.address)).collect();
    clients.iter_mut().for_each(|client| client.send("GET / HTTP/1.1\r\nhost: demo\r\n\r\n"));
    process.signal(Signal::TERM);
    process.signal(Signal::CONT);
    for (i, client) in clients.iter_mut().enumerate() {
        // Whether it is told to close depends on whether the signal or the connection is seen first.
        assert_eq!(client.answer().status, 200, "client {i}");
        assert_eq!(client.rest(), "");
    }
    assert_eq!(process.wait().code(), Some(0));
}

#[test]
fn told_to_ignore_sigterm_it_goes_on_serving() {
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
fn a_start_delay_is_waited_for_before_it_listens() {
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
fn a_start_that_shall_fail_says_so_and_exits_with_3() {
    let ended = ended(&[(FAIL_START, "1"), (START_DELAY, "10")]);
    assert_eq!(ended.0, Some(3));
    assert!(ended.1.contains("does not start, as DEMO_FAIL_START says"), "{}", ended.1);
}

#[test]
fn a_fault_that_is_none_is_refused_in_words() {
    let ended = ended(&[(START_DELAY, "soon")]);
    assert_eq!(ended.0, Some(1));
    assert!(ended.1.contains("DEMO_START_DELAY must be a whole number of milliseconds; it is `soon`"), "{}", ended.1);
}

/// How a worker ends that does not even listen: its exit code, and what it says to standard error.
fn ended(environment: &[(&str, &str)]) -> (Option<i32>, String) {
    let notify = tempfile::tempdir().expect("folder");
    let path = notify.path().join("notify");
    let master = std::os::unix::net::UnixDatagram::bind(&path).expect("bind");
    master.set_nonblocking(true).expect("non-blocking");
    let mut command = test_process("");
    command.env(PORT, "0").env(NOTIFY_SOCKET, path).envs(environment.iter().copied());
    let output = command.output().expect("output");
    assert!(master.recv(&mut [0]).is_err(), "it was never ready");
    assert!(!String::from_utf8_lossy(&output.stdout).contains("listening on"));
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn an_inherited_socket_is_served_and_its_queue_left_to_others() {
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
