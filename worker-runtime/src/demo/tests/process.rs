//! The demo worker as a process: signals, exit codes, inherited sockets. The process is this test binary itself.

use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use super::client::Client;
use super::*;
use crate::protocol::NOTIFY_SOCKET;

const AS_A_PROCESS: &str = "DEMO_WORKER_TEST_PROCESS";

/// Not a test by itself: what the processes below run.
#[test]
fn as_a_process() {
    if std::env::var_os(AS_A_PROCESS).is_some() {
        assert_eq!(main(), ExitCode::SUCCESS);
    }
}

struct Process {
    child: Child,
    address: SocketAddr,
    /// Open as long as the process may write to it.
    _stdout: BufReader<ChildStdout>,
}

impl Process {
    /// Through a shell, so that it can name its own pid before it becomes the worker.
    fn start(script: &str, prepare: impl FnOnce(&mut Command)) -> Self {
        let mut command = Command::new("sh");
        command.args(["-c", &format!("{script} exec \"$0\" \"$@\"")]).arg(std::env::current_exe().expect("exe"));
        command.args(["--exact", "demo::tests::process::as_a_process", "--nocapture"]);
        command.env(AS_A_PROCESS, "1").stdin(Stdio::null()).stdout(Stdio::piped());
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
    let mut said = [0; 16];
    let n = master.recv(&mut said).expect("a datagram");
    assert_eq!(&said[..n], b"READY=1");
    assert_eq!(Client::connect(process.address).request("GET", "/health").status, 200);
    process.signal(Signal::TERM);
    let address = process.address;
    assert_eq!(process.wait().code(), Some(0));
    std::net::TcpStream::connect(address).expect("the socket outlives the worker");
}
