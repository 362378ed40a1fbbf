//! A netlink socket that asks the kernel for lists of sockets, and never blocks.
//!
//! No call can block: the kernel writes the first part of a list while it takes the request, and each further part
//! while the part before it is fetched (`netlink_dump` in its `af_netlink.c`). If the socket is empty before the end of
//! a list, something is wrong; no more data is coming.

use std::io;
use std::os::fd::OwnedFd;

use rustix::io::{Errno, retry_on_intr};
use rustix::net::netlink::{SOCK_DIAG, SocketAddrNetlink};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, socket_with};

use super::message::{Content, messages};

/// The most bytes that the kernel writes at once, if the buffer has room for them.
const PART: usize = 32 * 1024;

/// The number of times that a list is requested if it is torn each time.
const TRIES: usize = 4;

/// Asks for lists, one after the other.
#[derive(Debug)]
pub(super) struct Netlink {
    /// None after a question that was not answered to its end: the next question must not read the rest of that answer.
    socket: Option<OwnedFd>,
    sequence: u32,
    part: Vec<u8>,
}

impl Netlink {
    /// Opens a socket.
    ///
    /// # Errors
    ///
    /// The kernel has no such socket or refuses it, or this process has no descriptor left.
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self { socket: Some(open()?), sequence: 0, part: vec![0; PART] })
    }

    /// Sends the request that `request` makes for a sequence number, and parses each entry of the answer with `read`.
    ///
    /// # Errors
    ///
    /// The kernel refuses, the answer cannot be read, or the list changed during each of several tries.
    pub(super) fn list<T>(
        &mut self,
        request: impl Fn(u32) -> Vec<u8>,
        read: impl Fn(&[u8]) -> Option<T>,
    ) -> io::Result<Vec<T>> {
        for _ in 0..TRIES {
            if let Some(list) = self.list_once(&request, &read)? {
                return Ok(list);
            }
        }
        let text = "the kernel's list of sockets changed whenever it was read";
        Err(io::Error::new(io::ErrorKind::WouldBlock, text))
    }

    /// Sends the request that `request` makes for a sequence number, and parses the one entry of the answer with
    /// `read`; None if there is no such entry.
    ///
    /// # Errors
    ///
    /// The kernel refuses, or the answer cannot be read.
    pub(super) fn find<T>(
        &mut self,
        request: impl Fn(u32) -> Vec<u8>,
        read: impl Fn(&[u8]) -> Option<T>,
    ) -> io::Result<Option<T>> {
        let socket = self.socket.take().map_or_else(open, Ok)?;
        self.sequence = self.sequence.wrapping_add(1);
        retry_on_intr(|| rustix::net::send(&socket, &request(self.sequence), SendFlags::DONTWAIT))?;
        // The kernel has answered before `send` returns, in one datagram.
        let flags = RecvFlags::DONTWAIT | RecvFlags::TRUNC;
        let (_, length) = retry_on_intr(|| rustix::net::recv(&socket, self.part.as_mut_slice(), flags))?;
        let datagram = self.part.get(..length).ok_or_else(malformed)?;
        let answer = messages(datagram).flatten().find(|message| message.sequence == self.sequence);
        let found = match answer.ok_or_else(malformed)?.content {
            Content::Entry(body) => Some(read(body).ok_or_else(malformed)?),
            Content::Failed(libc::ENOENT) => None,
            Content::Failed(errno) => return Err(io::Error::from_raw_os_error(errno)),
            Content::Done | Content::Other => return Err(malformed()),
        };
        self.socket = Some(socket);
        Ok(found)
    }

    /// Reads a list once; None if it is torn.
    fn list_once<T>(
        &mut self,
        request: impl Fn(u32) -> Vec<u8>,
        read: impl Fn(&[u8]) -> Option<T>,
    ) -> io::Result<Option<Vec<T>>> {
        // The socket is put back only when the answer has been read to its end.
        let socket = self.socket.take().map_or_else(open, Ok)?;
        self.sequence = self.sequence.wrapping_add(1);
        retry_on_intr(|| rustix::net::send(&socket, &request(self.sequence), SendFlags::DONTWAIT))?;
        let (mut list, mut is_torn) = (Vec::new(), false);
        loop {
            let flags = RecvFlags::DONTWAIT | RecvFlags::TRUNC;
            let length = match retry_on_intr(|| rustix::net::recv(&socket, self.part.as_mut_slice(), flags)) {
                Ok((_, length)) => length,
                // The socket's buffer overran, or the list broke off.
                Err(Errno::NOBUFS | Errno::AGAIN) => return Ok(None),
                Err(error) => return Err(error.into()),
            };
            let datagram = self.part.get(..length).filter(|part| !part.is_empty()).ok_or_else(malformed)?;
            for message in messages(datagram) {
                let message = message.ok_or_else(malformed)?;
                if message.sequence != self.sequence {
                    continue;
                }
                is_torn |= message.is_torn;
                match message.content {
                    Content::Entry(body) => list.push(read(body).ok_or_else(malformed)?),
                    Content::Failed(errno) => return Err(io::Error::from_raw_os_error(errno)),
                    Content::Done => {
                        self.socket = Some(socket);
                        return Ok((!is_torn).then_some(list));
                    }
                    Content::Other => {}
                }
            }
        }
    }
}

/// Opens a socket that is connected to the kernel, so that no other process can write to it.
fn open() -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::NETLINK, SocketType::DGRAM, flags, Some(SOCK_DIAG))?;
    rustix::net::connect(&socket, &SocketAddrNetlink::new(0, 0))?;
    Ok(socket)
}

fn malformed() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the kernel's list of sockets cannot be read")
}
