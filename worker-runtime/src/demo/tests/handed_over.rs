//! The demo worker as a process that gets its connections from a master.

use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdout, ExitStatus};

use rustix::process::{Pid, Signal, kill_process};

use super::process::test_process;
use super::*;
use crate::channel::tests::script::{Master, Said, connection};
use crate::protocol::ROUNDELAY_CHANNEL_FD;
use crate::protocol::packet::{MAX_MESSAGE, Refusal, ToWorker};

struct Process {
    child: Child,
    stdout: BufReader<ChildStdout>,
    master: Master,
}

impl Process {
    fn start(script: &str) -> Self {
        let (master, channel) = Master::pair();
        let mut command = test_process(&format!("{script} exec 3<&0 </dev/null;"));
        command.env(ROUNDELAY_CHANNEL_FD, "3").stdin(channel);
        let mut child = command.spawn().expect("spawn");
        // The command holds our copy of the worker's end.
        drop(command);
        let stdout = BufReader::new(child.stdout.take().expect("stdout"));
        let mut process = Self { child, stdout, master };
        process.line("listening on sockets handed over by the master");
        process
    }

    /// Waits for the next line on standard output that ends with `end`.
    fn line(&mut self, end: &str) {
        assert!((&mut self.stdout).lines().map_while(Result::ok).any(|line| line.ends_with(end)), "no line `{end}`");
    }

    fn wait(mut self) -> ExitStatus {
        self.child.wait().expect("wait")
    }
}

#[tokio::test]
async fn handed_client_is_served_and_its_address_seen() {
    let process = Process::start("");
    let mut client = Client::over(process.master.connect(1));
    assert_eq!(process.master.hears().await, Said::Taken(vec![1]));
    assert!(client.request("GET", "/").text().starts_with("hello from worker/0"));
    let address = client.stream().local_addr().expect("address");
    assert_eq!(client.request("GET", "/client").text(), format!("{address}\n"));
    drop(client);
    assert_eq!(process.master.hears().await, Said::Ended(vec![1]));

    let mut slow = Client::over(process.master.connect(2));
    slow.send("GET /slow/200 HTTP/1.1\r\nhost: demo\r\n\r\n");
    assert_eq!(process.master.hears().await, Said::Taken(vec![2]));
    kill_process(Pid::from_child(&process.child), Signal::TERM).expect("signal");
    assert_eq!(slow.answer().header("connection"), Some("close"));
    assert_eq!(slow.rest(), "");
    drop(slow);
    assert_eq!(process.master.hears().await, Said::Ended(vec![2]));
    assert_eq!(process.master.hears().await, Said::Nothing);
    assert_eq!(process.wait().code(), Some(0));
}

#[tokio::test]
async fn message_is_written_out_and_echoed() {
    let mut process = Process::start("");
    for json in [r#"{"colour":"red"}"#, "[1,null]", "\"text\""] {
        process.master.send(ToWorker::Message(json), &[]);
        process.line(&format!("message: {json}"));
        assert_eq!(process.master.hears().await, Said::Message(format!("{{\"echo\":{json}}}")));
    }
    // Neither a message that is no JSON nor one that its echo makes too long ends the worker.
    process.master.send(ToWorker::Message("{"), &[]);
    let longest = format!("\"{}\"", "x".repeat(MAX_MESSAGE - 2));
    process.master.send(ToWorker::Message(&longest), &[]);
    process.line(&format!("message: {longest}"));
    process.master.send(ToWorker::Message("3"), &[]);
    assert_eq!(process.master.hears().await, Said::Message("{\"echo\":3}".to_owned()));
    let mut client = Client::over(process.master.connect(1));
    assert_eq!(client.request("GET", "/health").status, 200);
    drop(client);
    kill_process(Pid::from_child(&process.child), Signal::TERM).expect("signal");
    assert_eq!(process.wait().code(), Some(0));
}

#[tokio::test]
async fn worker_exits_when_its_master_is_gone() {
    let Process { mut child, stdout: _stdout, master } = Process::start("");
    let mut client = Client::over(master.connect(1));
    client.send("GET /slow/200 HTTP/1.1\r\nhost: demo\r\n\r\n");
    assert_eq!(master.hears().await, Said::Taken(vec![1]));
    drop(master);
    assert_eq!(client.answer().header("connection"), Some("close"));
    drop(client);
    assert_eq!(child.wait().expect("wait").code(), Some(0));
}

#[tokio::test]
async fn connections_are_refused_while_the_table_is_full() {
    let process = Process::start("ulimit -n 32;");
    let mut taken = Vec::new();
    let mut refused = Vec::new();
    let mut clients = Vec::new();
    for id in 0..40 {
        clients.push(process.master.connect(id));
        match process.master.hears().await {
            Said::Taken(ids) => taken.extend(ids),
            Said::Refused(Refusal::NoDescriptor, ids) => refused.extend(ids),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(taken, (0..taken.len() as u64).collect::<Vec<_>>());
    assert_eq!(refused, (taken.len() as u64..40).collect::<Vec<_>>());
    assert!(!taken.is_empty() && !refused.is_empty(), "{} taken", taken.len());

    drop(clients);
    assert_eq!(process.master.hears_ends(taken.len()).await, taken);
    let mut client = Client::over(process.master.connect(40));
    assert_eq!(process.master.hears().await, Said::Taken(vec![40]));
    assert_eq!(client.request("GET", "/health").status, 200);
    drop(client);
    kill_process(Pid::from_child(&process.child), Signal::TERM).expect("signal");
    assert_eq!(process.wait().code(), Some(0));
}

#[test]
fn descriptor_that_is_no_channel_is_an_error() {
    let (_client, socket) = connection();
    for (script, value, message) in [
        // By the time that the worker looks, descriptor 3 may be a file of its own.
        ("exec 3<&-;", "3", "names descriptor 3, which is no channel;"),
        ("exec 3<&0;", "3", "names descriptor 3, which is no channel;"),
        ("", "999", "names descriptor 999, which is no channel;"),
        ("", "2", "must be the number of a descriptor, 3 or more; it is `2`"),
        ("", "three", "must be the number of a descriptor, 3 or more; it is `three`"),
    ] {
        let mut command = test_process(script);
        let stdin = std::os::fd::OwnedFd::from(socket.try_clone().expect("clone"));
        command.env(ROUNDELAY_CHANNEL_FD, value).env(PORT, "0").stdin(stdin);
        let output = command.output().expect("output");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.contains(&format!("error: ROUNDELAY_CHANNEL_FD {message}")), "{said}");
        assert_eq!(output.status.code(), Some(1));
    }
}
