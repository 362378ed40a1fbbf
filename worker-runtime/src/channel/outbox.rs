//! What is said to the master, in order. Never waits and never loses: what the socket does not take stays here.

use std::collections::VecDeque;
use std::os::fd::AsFd;

use rustix::io::Errno;
use rustix::net::{SendFlags, send};

/// Packets on their way to the master.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    waiting: VecDeque<Vec<u8>>,
    /// Bytes of all packets that wait.
    bytes: usize,
    /// Packets that were ever pushed.
    pushed: u64,
    /// The last packet that did not have to wait; its memory is used again.
    packet: Vec<u8>,
    /// Nobody reads any more.
    is_broken: bool,
}

enum Sent {
    /// Gone.
    Done,
    /// Later.
    Blocked,
    /// Never.
    Broken,
}

impl Outbox {
    /// Says what `encode` writes: at once if it can be, else after everything that waits already.
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

    /// Sends what waits, as far as the socket takes it.
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

    /// Whether packets wait.
    pub(super) fn is_blocked(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Bytes that wait.
    #[cfg(feature = "messages")]
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether nobody reads any more.
    pub(super) fn is_broken(&self) -> bool {
        self.is_broken
    }

    /// How many packets were pushed so far, for [`Outbox::has_sent`].
    pub(super) fn pushed(&self) -> u64 {
        self.pushed
    }

    /// Whether the first `count` packets have left, or there is nobody left to send them to.
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
            // A message longer than a socket buffer that somebody made small: it would block all that is behind it.
            Err(Errno::MSGSIZE) => Sent::Done,
            Err(_) => Sent::Broken,
        };
    }
}
