//! The master's end of a channel, controlled by a test.

use std::io::{IoSlice, Read};
use std::mem::MaybeUninit;
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recv,
    sendmsg, socketpair,
};
use tokio::time::{sleep, timeout};

use crate::protocol::packet::{MAX_PACKET, Refusal, ToMaster, ToWorker};

use super::DEADLINE;

/// A master.
pub(crate) struct Master(pub(crate) OwnedFd);

/// Packets of a worker, as the master reads them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Said {
    Taken(Vec<u64>),
    Refused(Refusal, Vec<u64>),
    Ended(Vec<u64>),
    Message(String),
    Pong(u64),
    /// The worker's end is closed.
    Nothing,
}

impl Master {
    /// Makes a master, and the socket that its worker gets.
    pub(crate) fn pair() -> (Self, OwnedFd) {
        let (master, worker) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).expect("a pair");
        (Self(master), worker)
    }

    /// Sends any bytes with any descriptors, without waiting: a test's few packets fit into the socket.
    pub(crate) fn send_raw(&self, bytes: &[u8], beside: &[BorrowedFd<'_>]) {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(8))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !beside.is_empty() {
            assert!(control.push(SendAncillaryMessage::ScmRights(beside)));
        }
        sendmsg(&self.0, &[IoSlice::new(bytes)], &mut control, SendFlags::DONTWAIT).expect("sent");
    }

    pub(crate) fn send(&self, packet: ToWorker<'_>, beside: &[BorrowedFd<'_>]) {
        let mut bytes = Vec::new();
        packet.encode(&mut bytes);
        self.send_raw(&bytes, beside);
    }

    /// Hands a socket over. The caller keeps its own copy.
    pub(crate) fn hand_over(&self, id: u64, socket: impl AsFd) {
        self.send(ToWorker::Connection { id }, &[socket.as_fd()]);
    }

    /// Hands a new TCP connection over. Returns the client; the master's copy is closed.
    pub(crate) fn connect(&self, id: u64) -> TcpStream {
        let (client, accepted) = connection();
        self.hand_over(id, accepted);
        client
    }

    /// Returns the next packet if one has arrived.
    pub(crate) fn try_hear(&self) -> Option<Said> {
        let mut buffer = vec![0; MAX_PACKET + 1];
        let length = match recv(&self.0, &mut buffer[..], RecvFlags::DONTWAIT) {
            Ok((_, 0)) | Err(Errno::CONNRESET) => return Some(Said::Nothing),
            Ok((_, length)) => length,
            Err(error) => {
                assert_eq!(error, Errno::WOULDBLOCK);
                return None;
            }
        };
        Some(match ToMaster::decode(&buffer[..length]).expect("a packet") {
            ToMaster::Taken(ids) => Said::Taken(ids.iter().collect()),
            ToMaster::Refused { reason, ids } => Said::Refused(reason, ids.iter().collect()),
            ToMaster::Ended(ids) => Said::Ended(ids.iter().collect()),
            ToMaster::Message(json) => Said::Message(json.to_owned()),
            ToMaster::Pong { token } => Said::Pong(token),
        })
    }

    /// Waits for the next packet and returns it.
    pub(crate) async fn hears(&self) -> Said {
        let heard = async {
            loop {
                match self.try_hear() {
                    Some(said) => return said,
                    None => sleep(Duration::from_millis(1)).await,
                }
            }
        };
        timeout(DEADLINE, heard).await.expect("in time")
    }

    /// Waits until that many connections have been reported to have ended, in any number of packets. Returns their ids,
    /// sorted.
    pub(crate) async fn hears_ends(&self, count: usize) -> Vec<u64> {
        let mut ended = Vec::new();
        while ended.len() < count {
            match self.hears().await {
                Said::Ended(ids) => ended.extend(ids),
                other => panic!("{other:?}"),
            }
        }
        ended.sort_unstable();
        ended
    }
}

/// Makes a client, and the non-blocking socket that a master accepts for it.
pub(crate) fn connection() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
    let client = TcpStream::connect(listener.local_addr().expect("address")).expect("connect");
    client.set_read_timeout(Some(DEADLINE)).expect("a deadline");
    let (accepted, _) = listener.accept().expect("accept");
    accepted.set_nonblocking(true).expect("non-blocking");
    (client, accepted)
}

/// Returns true if every other process has closed this client's connection, without sending a byte.
pub(crate) fn is_closed(client: &mut TcpStream) -> bool {
    match client.read(&mut [0]) {
        Ok(count) => count == 0,
        Err(error) => error.kind() == std::io::ErrorKind::ConnectionReset,
    }
}
