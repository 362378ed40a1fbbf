//! Packets to the master, in order. Pushing never waits and loses nothing: packets that the socket does not take stay
//! here.

use std::collections::VecDeque;
use std::os::fd::AsFd;

use rustix::io::Errno;
use rustix::net::{SendFlags, send};

/// Packets that are on their way to the master.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    waiting: VecDeque<Vec<u8>>,
    /// The bytes of all waiting packets.
    bytes: usize,
    /// The number of packets that were ever pushed.
    pushed: u64,
    /// The last packet that did not have to wait. Its memory is used again.
    packet: Vec<u8>,
    /// The master does not read any more.
    is_broken: bool,
}

enum Sent {
    /// The packet was sent.
    Done,
    /// The socket is full: try again later.
    Blocked,
    /// The channel is broken: the packet can never be sent.
    Broken,
}

impl Outbox {
    /// Sends the packet that `encode` writes: at once if possible, else after all waiting packets.
    pub(super) fn push(&mut self, channel: impl AsFd, encode: impl FnOnce(&mut Vec<u8>)) {
        self.packet.clear();
        encode(&mut self.packet);
        self.pushed += 1;
        if self.is_broken {
            return;
        }
        let sent = if self.waiting.is_empty() { try_send(channel, &self.packet) } else { Sent::Blocked };
        match sent {
            Sent::Done => {}
            Sent::Blocked => {
                self.bytes += self.packet.len();
                self.waiting.push_back(std::mem::take(&mut self.packet));
            }
            Sent::Broken => self.break_off(),
        }
    }

    /// Sends waiting packets until the socket is full.
    pub(super) fn flush(&mut self, channel: impl AsFd) {
        while let Some(packet) = self.waiting.front() {
            match try_send(&channel, packet) {
                Sent::Done => {
                    self.bytes -= packet.len();
                    self.waiting.pop_front();
                }
                Sent::Blocked => return,
                Sent::Broken => self.break_off(),
            }
        }
    }

    /// Returns true if packets are waiting.
    pub(super) fn is_blocked(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Returns the number of waiting bytes.
    #[cfg(feature = "messages")]
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Returns true if the master does not read any more.
    pub(super) fn is_broken(&self) -> bool {
        self.is_broken
    }

    /// Returns the number of packets pushed so far, for [`Outbox::has_sent`].
    pub(super) fn pushed(&self) -> u64 {
        self.pushed
    }

    /// Returns true if the first `count` packets have been sent, or the channel is broken.
    pub(super) fn has_sent(&self, count: u64) -> bool {
        self.pushed - self.waiting.len() as u64 >= count
    }

    fn break_off(&mut self) {
        self.is_broken = true;
        self.waiting.clear();
        self.bytes = 0;
    }
}

fn try_send(channel: impl AsFd, packet: &[u8]) -> Sent {
    loop {
        return match send(&channel, packet, SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
            Ok(_) => Sent::Done,
            Err(Errno::INTR) => continue,
            Err(Errno::WOULDBLOCK | Errno::NOBUFS | Errno::NOMEM) => Sent::Blocked,
            // The packet is longer than the socket's buffer, which was made small. Waiting would block all packets
            // behind it, so this one is dropped.
            Err(Errno::MSGSIZE) => Sent::Done,
            Err(_) => Sent::Broken,
        };
    }
}
