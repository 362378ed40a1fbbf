use std::collections::HashMap;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

use super::*;
use crate::protocol::{HOST, LISTEN_FDS, LISTEN_PID, NOTIFY_SOCKET, PORT};

const DEADLINE: Duration = Duration::from_secs(10);

async fn open(variables: &[(&'static str, &str)]) -> Result<Worker, StartError> {
    let variables: HashMap<_, _> = variables.iter().map(|(name, value)| (*name, OsString::from(value))).collect();
    Worker::open(&move |name: &str| variables.get(name).cloned()).await
}

async fn next(worker: &mut Worker) -> Option<Stream> {
    timeout(DEADLINE, worker.accept()).await.expect("in time").expect("accepted")
}

fn address(worker: &Worker) -> std::net::SocketAddr {
    match worker.endpoints().expect("endpoints").as_slice() {
        [Endpoint::Tcp(address)] => *address,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn port_is_bound_on_loopback_without_nagle() {
    let mut worker = open(&[(PORT, "0")]).await.expect("worker");
    let address = address(&worker);
    assert!(address.ip().is_loopback());
    let mut client = TcpStream::connect(address).await.expect("connect");
    let mut stream = next(&mut worker).await.expect("a stream");
    assert_eq!(stream.peer_addr(), client.local_addr().ok());
    assert!(rustix::net::sockopt::tcp_nodelay(&stream).expect("nodelay"));
    client.write_all(b"ping").await.expect("write");
    stream.readable().await.expect("readable");
    let mut bytes = [0; 4];
    stream.read_exact(&mut bytes).await.expect("read");
    stream.write_all(&bytes).await.expect("write");
    stream.shutdown().await.expect("shutdown");
    let mut echoed = Vec::new();
    client.read_to_end(&mut echoed).await.expect("read");
    assert_eq!(echoed, b"ping");
}

#[tokio::test]
async fn host_variable_is_the_bound_address() {
    let worker = open(&[(PORT, "0"), (HOST, "127.0.0.2")]).await.expect("worker");
    assert_eq!(address(&worker).ip().to_string(), "127.0.0.2");
    let worker = open(&[(PORT, "0"), (HOST, "localhost")]).await.expect("worker");
    assert!(address(&worker).ip().is_loopback());
}

#[tokio::test]
async fn absolute_path_is_a_unix_socket_removed_with_its_worker() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("worker.sock");
    let port = path.to_str().expect("text").to_owned();
    let mut worker = open(&[(PORT, &port)]).await.expect("worker");
    assert_eq!(worker.endpoints().expect("endpoints"), [Endpoint::Unix(path.clone())]);
    let _client = UnixStream::connect(&path).await.expect("connect");
    assert_eq!(next(&mut worker).await.expect("a stream").peer_addr(), None);

    let second = open(&[(PORT, &port)]).await.expect_err("the path is in use");
    assert!(matches!(second, StartError::Listen { .. }), "{second:?}");
    assert!(path.exists(), "the second worker did not remove the first one's socket");

    worker.draining().begin();
    assert!(next(&mut worker).await.is_none());
    assert!(!path.exists());
}

#[tokio::test]
async fn waiting_clients_are_served_before_a_draining_worker_ends() {
    let mut worker = open(&[(PORT, "0")]).await.expect("worker");
    let address = address(&worker);
    let mut clients = Vec::new();
    for _ in 0..3 {
        clients.push(TcpStream::connect(address).await.expect("connect"));
    }
    let draining = worker.draining();
    draining.begin();
    assert!(draining.has_begun());
    for i in 0..3 {
        let mut stream = next(&mut worker).await.unwrap_or_else(|| panic!("client {i} was forgotten"));
        worker.spawn(async move { stream.write_all(b"bye").await });
    }
    assert!(next(&mut worker).await.is_none());
    assert!(next(&mut worker).await.is_none(), "`accept` returns `None` for ever");
    assert!(TcpStream::connect(address).await.is_err(), "the port is closed");
    worker.finish().await;
    for mut client in clients {
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.expect("read");
        assert_eq!(answer, "bye");
    }
}

#[tokio::test]
async fn ready_sends_drain_and_finish_sends_stopping_first() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("notify");
    let master = tokio::net::UnixDatagram::bind(&path).expect("bind");
    let worker = open(&[(PORT, "0"), (NOTIFY_SOCKET, path.to_str().expect("text"))]).await.expect("worker");
    worker.ready().await.expect("ready");
    let (release, gate) = tokio::sync::oneshot::channel::<()>();
    worker.spawn(gate);
    let mut finishing = tokio::spawn(worker.finish());
    let mut said = Vec::new();
    for _ in 0..2 {
        let mut buffer = [0; 64];
        let n = timeout(DEADLINE, master.recv(&mut buffer)).await.expect("in time").expect("datagram");
        said.push(String::from_utf8_lossy(&buffer[..n]).into_owned());
    }
    assert_eq!(said, ["READY=1\nX_ROUNDELAY_DRAIN=signal", "STOPPING=1"]);
    assert!(timeout(Duration::from_millis(20), &mut finishing).await.is_err(), "a task is still open");
    drop(release);
    timeout(DEADLINE, finishing).await.expect("in time").expect("task");
}

#[tokio::test]
async fn identity_comes_from_the_environment() {
    let alone = open(&[(PORT, "0")]).await.expect("worker");
    assert_eq!((alone.pool(), alone.slot(), alone.workers(), alone.generation()), ("worker", 0, 1, 0));
    let variables = [
        (PORT, "0"),
        (ROUNDELAY_POOL, "api"),
        (ROUNDELAY_WORKER, "3"),
        (ROUNDELAY_WORKERS, "4"),
        (ROUNDELAY_GENERATION, "7"),
    ];
    let worker = open(&variables).await.expect("worker");
    assert_eq!((worker.pool(), worker.slot(), worker.workers(), worker.generation()), ("api", 3, 4, 7));
}

#[tokio::test]
async fn invalid_variable_is_refused_with_its_name() {
    let message = async |variables: &[(&'static str, &str)]| open(variables).await.expect_err("refused").to_string();
    assert!(message(&[]).await.contains("set PORT"));
    assert!(message(&[(PORT, "")]).await.contains("set PORT"));
    assert_eq!(message(&[(PORT, "http")]).await, "PORT must be a port number or an absolute path; it is `http`");
    assert!(message(&[(PORT, "65536")]).await.contains("`65536`"));
    assert_eq!(
        message(&[(PORT, "0"), (ROUNDELAY_WORKER, "-1")]).await,
        "ROUNDELAY_WORKER must be a whole number; it is `-1`"
    );
    let us = std::process::id().to_string();
    assert!(message(&[(LISTEN_PID, &us), (LISTEN_FDS, "some")]).await.contains("LISTEN_FDS"));
}

#[tokio::test]
async fn sockets_meant_for_another_process_are_ignored() {
    let worker = open(&[(PORT, "0"), (LISTEN_PID, "1"), (LISTEN_FDS, "1")]).await.expect("worker");
    assert_ne!(address(&worker).port(), 0);
}
