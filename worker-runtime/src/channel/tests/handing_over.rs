//! Connections that the master hands over.

use std::io::{Read, Write};
use std::os::fd::AsFd;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::yield_now;

use super::script::{Said, connection, is_closed};
use super::*;
use crate::Endpoint;
use crate::protocol::packet::{MAX_PACKET, Refusal, ToWorker};

#[tokio::test]
async fn master_knows_connection_is_taken_before_it_can_be_read() {
    let (mut worker, master) = pair();
    assert_eq!(worker.endpoints().expect("endpoints"), [Endpoint::Channel]);
    assert_eq!(Endpoint::Channel.to_string(), "sockets handed over by the master");
    let mut client = master.connect(7);
    client.write_all(b"ping").expect("written");
    yield_now().await;
    assert_eq!(master.try_hear(), None, "nothing accepts yet");
    let mut stream = accepted(&mut worker).await.expect("a stream");
    assert_eq!(master.try_hear(), Some(Said::Taken(vec![7])));
    assert_eq!(stream.peer_addr(), client.local_addr().ok(), "the client's own address");
    let mut bytes = [0; 4];
    stream.read_exact(&mut bytes).await.expect("read");
    stream.write_all(&bytes).await.expect("written");
    drop(stream);
    let mut echoed = Vec::new();
    client.read_to_end(&mut echoed).expect("read");
    assert_eq!(echoed, b"ping");
    assert_eq!(master.hears().await, Said::Ended(vec![7]));
}

#[tokio::test]
async fn batch_is_taken_in_one_packet_before_its_first_is_returned() {
    let (mut worker, master) = pair();
    let _clients: Vec<_> = (0..20).map(|id| master.connect(id)).collect();
    let mut streams = vec![accepted(&mut worker).await.expect("a stream")];
    assert_eq!(master.try_hear(), Some(Said::Taken((0..16).collect())));
    for _ in 1..16 {
        streams.push(accepted(&mut worker).await.expect("a stream"));
        assert_eq!(master.try_hear(), None);
    }
    streams.push(accepted(&mut worker).await.expect("a stream"));
    assert_eq!(master.try_hear(), Some(Said::Taken((16..20).collect())));
    for _ in 17..20 {
        streams.push(accepted(&mut worker).await.expect("a stream"));
    }
    drop(streams);
    assert_eq!(master.hears().await, Said::Ended((0..20).collect()), "ends are reported in one packet, too");
}

#[tokio::test]
async fn unix_connection_is_handed_over_like_tcp() {
    let (mut worker, master) = pair();
    // The socket is blocking, which the protocol forbids. It must not stop the worker.
    let (mut client, socket) = std::os::unix::net::UnixStream::pair().expect("a pair");
    master.hand_over(1, &socket);
    drop(socket);
    let mut stream = accepted(&mut worker).await.expect("a stream");
    assert_eq!(stream.peer_addr(), None);
    stream.write_all(b"hello").await.expect("written");
    drop(stream);
    let mut heard = String::new();
    client.read_to_string(&mut heard).expect("read");
    assert_eq!(heard, "hello");
}

#[tokio::test]
async fn connection_without_exactly_one_socket_is_refused() {
    let (mut worker, master) = pair();
    let (mut first, one) = connection();
    let (mut second, two) = connection();
    let (pipe, _other_end) = std::io::pipe().expect("a pipe");
    master.send(ToWorker::Connection { id: 1 }, &[]);
    master.send(ToWorker::Connection { id: 2 }, &[one.as_fd(), two.as_fd()]);
    // More descriptors than the worker has room for: the kernel reports that it has cut some off.
    master.send(ToWorker::Connection { id: 3 }, &[one.as_fd(); 8]);
    master.send(ToWorker::Connection { id: 4 }, &[pipe.as_fd()]);
    // A descriptor beside a packet that is no connection. The worker does not expect it.
    master.send(ToWorker::Ping { token: 5 }, &[two.as_fd()]);
    drop((one, two));
    let _client = master.connect(6);
    let _stream = accepted(&mut worker).await.expect("the good one");
    assert_eq!(master.hears().await, Said::Pong(5));
    assert_eq!(master.hears().await, Said::Taken(vec![6]));
    assert_eq!(master.hears().await, Said::Refused(Refusal::NoDescriptor, vec![1]));
    assert_eq!(master.hears().await, Said::Refused(Refusal::Other, vec![2, 3, 4]));
    assert!(is_closed(&mut first) && is_closed(&mut second), "no copy is left");
}

#[tokio::test]
async fn invalid_packet_is_ignored_and_its_sockets_closed() {
    let (mut worker, master) = pair();
    let too_long = vec![b'1'; MAX_PACKET + 1];
    let too_long = [&[2], &too_long[1..]].concat();
    let (mut client, socket) = connection();
    for packet in [&[0][..], &[9, 9, 9], &[1], &[1; 8], &[1; 10], &[2], &[2, 0xff], &[3, 1], &[255; 600], &too_long] {
        master.send_raw(packet, &[socket.as_fd()]);
    }
    drop(socket);
    let _other = master.connect(1);
    assert!(accepted(&mut worker).await.is_some());
    assert_eq!(master.hears().await, Said::Taken(vec![1]));
    assert!(is_closed(&mut client), "the sockets beside the packets are closed");
}

#[tokio::test]
async fn ping_is_answered_only_by_the_accept_loop() {
    let (mut worker, master) = pair();
    #[cfg(feature = "messages")]
    {
        let messages = worker.messages();
        tokio::spawn(async move { messages.recv::<u32>().await });
    }
    master.send(ToWorker::Ping { token: 1 }, &[]);
    for _ in 0..20 {
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert_eq!(master.try_hear(), None, "nothing accepts");
    }
    let accepting = tokio::spawn(async move { worker.accept().await.map(|stream| stream.is_some()) });
    assert_eq!(master.hears().await, Said::Pong(1));
    master.send(ToWorker::Ping { token: u64::MAX }, &[]);
    assert_eq!(master.hears().await, Said::Pong(u64::MAX));
    assert!(!accepting.is_finished());
}

#[tokio::test]
async fn connection_is_held_back_until_its_taken_packet_is_sent() {
    let (master, socket) = Master::pair();
    let filler = socket.try_clone().expect("another descriptor of it");
    let mut worker = Worker::over(socket);
    let mut filled = 0;
    while rustix::net::send(&filler, b"\x041", rustix::net::SendFlags::DONTWAIT).is_ok() {
        filled += 1;
    }
    let _client = master.connect(1);
    let accepting = tokio::spawn(async move { (accepted(&mut worker).await, worker) });
    for _ in 0..20 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert!(!accepting.is_finished(), "if the worker died now, the master would give the connection to another");
    for _ in 0..filled {
        assert_eq!(master.hears().await, Said::Message("1".to_owned()));
    }
    assert_eq!(master.hears().await, Said::Taken(vec![1]));
    let (stream, _worker) = timeout(DEADLINE, accepting).await.expect("in time").expect("task");
    assert!(stream.is_some());
}
