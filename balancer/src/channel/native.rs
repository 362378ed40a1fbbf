//! The channel of a worker made with `worker-runtime`: one packet, one thing said.

use std::collections::{HashSet, VecDeque};
use std::os::fd::OwnedFd;
use std::pin::Pin;

use tokio::io::unix::AsyncFd;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, Sleep, sleep};
use worker_runtime::protocol::packet::{MAX_MESSAGE, MAX_PACKET, Refusal, ToMaster, ToWorker};

use super::socket::{self, Received};
use super::table::Table;
use super::{BATCH, Channel, LOOK, News, Order, PATIENCE, Unsent, WORKER_FD, Worker};
use crate::os::far_end::far_end;
use crate::rotation::Guest;
use crate::stats::{ConnectError, Outcome};

/// How many messages may wait for a worker that does not read.
const MOST_WAITING: usize = 64;

struct Native {
    worker: Worker,
    socket: AsyncFd<OwnedFd>,
    table: Table,
    /// What the socket did not take yet, in order: numbers of guests, and packets without a descriptor.
    outbox: VecDeque<Out>,
    /// Who asked, by the token that the answer will carry.
    pings: VecDeque<(u64, oneshot::Sender<()>)>,
    next_token: u64,
    look: Option<Pin<Box<Sleep>>>,
    packet: Vec<u8>,
    buffer: Box<[u8]>,
    complained: HashSet<String>,
    is_closed: bool,
    /// What lies in the worker's queue cannot be taken back on this machine.
    is_final: bool,
}

enum Out {
    Guest(u64),
    Packet(Vec<u8>),
}

/// Runs it until the worker is gone.
pub(super) async fn run(channel: Channel) {
    let Channel { ours, mut guests, mut orders, worker, .. } = channel;
    #[expect(deprecated, reason = "its successor is unsafe for types that change their descriptor; this one keeps it")]
    let socket = match AsyncFd::new(ours) {
        Ok(socket) => socket,
        Err(error) => {
            // No memory for one more watched socket. Guests that come find nobody.
            (worker.news)(News::Strange(format!("its channel cannot be watched: {error}")));
            return (worker.news)(News::Closed);
        }
    };
    let mut native = Native {
        worker,
        socket,
        table: Table::default(),
        outbox: VecDeque::new(),
        pings: VecDeque::new(),
        next_token: 0,
        look: None,
        packet: Vec::new(),
        buffer: vec![0; MAX_PACKET + 1].into_boxed_slice(),
        complained: HashSet::new(),
        is_closed: false,
        is_final: false,
    };
    let outcome = loop {
        let is_waiting = !native.outbox.is_empty();
        tokio::select! {
            biased;
            order = orders.recv() => match order {
                Some(Order::Ended { was_asked: false }) => break Outcome::UpstreamReset,
                // None: the master ends.
                Some(Order::Ended { was_asked: true }) | None => break Outcome::Cut,
                Some(order) => native.obey(order),
            },
            // What waits keeps its order: nothing overtakes it.
            Some(guest) = guests.recv() => {
                native.take_in(guest);
                for guest in std::iter::from_fn(|| guests.try_recv().ok()).take(BATCH) {
                    native.take_in(guest);
                }
            }
            ready = native.socket.readable(), if !native.is_closed => {
                if let Ok(mut ready) = ready {
                    ready.clear_ready();
                }
                native.listen();
            }
            ready = native.socket.writable(), if is_waiting && !native.is_closed => {
                if let Ok(mut ready) = ready {
                    ready.clear_ready();
                }
                native.flush();
            }
            () = due(&mut native.look) => native.look(),
        }
    };
    native.end(guests, outcome);
}

async fn due(look: &mut Option<Pin<Box<Sleep>>>) {
    match look {
        Some(sleep) => sleep.as_mut().await,
        None => std::future::pending().await,
    }
}

impl Native {
    fn take_in(&mut self, guest: Box<dyn Guest>) {
        if self.is_closed {
            return guest.returned(ConnectError::Refused);
        }
        let id = self.table.add(guest, Instant::now());
        self.outbox.push_back(Out::Guest(id));
        self.flush();
        self.look.get_or_insert_with(|| Box::pin(sleep(LOOK)));
    }

    fn obey(&mut self, order: Order) {
        match order {
            Order::Ping(reply) => {
                self.next_token += 1;
                self.pings.retain(|(_, asker)| !asker.is_closed());
                self.pings.push_back((self.next_token, reply));
                self.ping(self.next_token);
            }
            Order::Message(json, reply) => {
                let _ = reply.send(self.message(&json));
            }
            // Such a worker is told by a signal.
            Order::Disconnect | Order::Ended { .. } => {}
        }
    }

    fn ping(&mut self, token: u64) {
        let mut packet = Vec::new();
        ToWorker::Ping { token }.encode(&mut packet);
        self.outbox.push_back(Out::Packet(packet));
        self.flush();
    }

    fn message(&mut self, json: &str) -> Result<(), Unsent> {
        if json.len() > MAX_MESSAGE {
            return Err(Unsent::TooLong(json.len()));
        }
        if self.is_closed {
            return Err(Unsent::Closed);
        }
        if self.outbox.iter().filter(|out| matches!(out, Out::Packet(_))).count() >= MOST_WAITING {
            return Err(Unsent::Full);
        }
        let mut packet = Vec::new();
        ToWorker::Message(json).encode(&mut packet);
        self.outbox.push_back(Out::Packet(packet));
        self.flush();
        Ok(())
    }

    /// Sends what waits, as far as the socket takes it.
    fn flush(&mut self) {
        while let Some(out) = self.outbox.front() {
            let sent = match out {
                Out::Packet(packet) => socket::send(self.socket.get_ref(), packet, None),
                Out::Guest(id) => match self.table.untaken(*id).and_then(Guest::socket) {
                    Some(guest) => {
                        self.packet.clear();
                        ToWorker::Connection { id: *id }.encode(&mut self.packet);
                        socket::send(self.socket.get_ref(), &self.packet, Some(guest))
                    }
                    None => Ok(0),
                },
            };
            match sent {
                Err(error) if error.raw_os_error() == Some(libc::EAGAIN) => return,
                // Of descriptors under way there are too many on this machine: this one goes to another worker, later.
                Err(error) if socket::is_full(&error) => self.drop_front(ConnectError::Busy),
                // The other end is closed. What it said before is still read.
                Err(_) => return self.close(),
                Ok(_) => drop(self.outbox.pop_front()),
            }
        }
    }

    fn drop_front(&mut self, why: ConnectError) {
        if let Some(Out::Guest(id)) = self.outbox.pop_front() {
            self.table.returned(id, why);
        }
    }

    /// Reads what the worker has said.
    fn listen(&mut self) {
        loop {
            match socket::receive(self.socket.get_ref(), &mut self.buffer) {
                Ok(Received { length: 0, .. }) => return self.close(),
                Ok(received) => self.heard(&received),
                Err(error) if error.raw_os_error() == Some(libc::EAGAIN) => return,
                Err(_) => return self.close(),
            }
        }
    }

    fn heard(&mut self, received: &Received) {
        if !received.descriptors.is_empty() {
            self.complain("it sent a descriptor, which was closed".to_owned());
        }
        let packet = self.buffer.get(..received.length).unwrap_or_default().to_vec();
        if received.is_cut {
            return self.complain(format!("it sent a packet of more than {MAX_PACKET} bytes"));
        }
        let is_known = match ToMaster::decode(&packet) {
            Ok(ToMaster::Taken(ids)) => {
                self.worker.upstream.set_stalled(false);
                ids.iter().fold(true, |all, id| self.table.taken(id, true) && all)
            }
            Ok(ToMaster::Refused { reason, ids }) => {
                let why = match reason {
                    Refusal::NoDescriptor => ConnectError::Busy,
                    Refusal::Draining | Refusal::Other => ConnectError::Refused,
                };
                ids.iter().fold(true, |all, id| self.table.returned(id, why) && all)
            }
            Ok(ToMaster::Ended(ids)) => ids.iter().fold(true, |all, id| self.table.ended(id) && all),
            Ok(ToMaster::Pong { token }) => {
                self.worker.upstream.set_stalled(false);
                while self.pings.front().is_some_and(|(asked, _)| *asked <= token) {
                    if let Some((_, asker)) = self.pings.pop_front() {
                        let _ = asker.send(());
                    }
                }
                true
            }
            Ok(ToMaster::Message(json)) => {
                (self.worker.news)(News::Message(json.to_owned()));
                true
            }
            Err(error) => return self.complain(format!("it sent {error}")),
        };
        if !is_known {
            self.complain("it spoke of a connection that it was not given".to_owned());
        }
    }

    /// What a worker does wrong is told once.
    fn complain(&mut self, what: String) {
        if self.complained.len() < 16 && self.complained.insert(what.clone()) {
            (self.worker.news)(News::Strange(what));
        }
    }

    /// The worker's end is closed. It may have read what was sent before: only its end tells.
    fn close(&mut self) {
        if self.is_closed {
            return;
        }
        self.is_closed = true;
        self.pings.clear();
        for out in std::mem::take(&mut self.outbox) {
            if let Out::Guest(id) = out {
                self.table.returned(id, ConnectError::Refused);
            }
        }
        (self.worker.news)(News::Closed);
    }

    /// Looks whether the worker leaves something lying that another could have.
    fn look(&mut self) {
        self.look = None;
        let Some(oldest) = self.table.oldest() else { return };
        self.look = Some(Box::pin(sleep(LOOK)));
        if oldest.elapsed() >= PATIENCE && !self.is_final && !self.is_closed && self.worker.has_alternative() {
            self.take_back();
        }
    }

    /// Takes out of the worker's queue what it has not read: guests go to others, the rest is said again. A ping tells when
    /// it reads again.
    fn take_back(&mut self) {
        let Some(process) = self.worker.upstream.process() else { return };
        let end = match far_end(process, WORKER_FD, self.worker.inode) {
            Ok(end) => end,
            Err(error) => {
                self.is_final = true;
                let slot = self.worker.upstream.slot;
                tracing::debug!(%slot, %error, "what this worker leaves unread stays with it");
                return;
            }
        };
        let (mut back, mut again) = (Vec::new(), Vec::new());
        while let Ok(unread) = socket::receive(&end, &mut self.buffer) {
            let packet = self.buffer.get(..unread.length).unwrap_or_default();
            match ToWorker::decode(packet) {
                Ok(ToWorker::Connection { id }) => back.push(id),
                Ok(ToWorker::Message(_) | ToWorker::Ping { .. }) => again.push(Out::Packet(packet.to_vec())),
                // Closed, or not ours: nothing more comes.
                Err(_) => break,
            }
        }
        drop(end);
        if back.is_empty() && again.is_empty() {
            return;
        }
        // Before they are given on: it must not get them again.
        self.worker.upstream.set_stalled(true);
        for out in again.into_iter().rev() {
            self.outbox.push_front(out);
        }
        self.ping(0);
        let (slot, connections) = (self.worker.upstream.slot, back.len());
        tracing::debug!(%slot, connections, "taken back from a worker that did not read");
        for id in back {
            self.table.returned(id, ConnectError::Timeout);
        }
    }

    /// The worker is gone, or the master ends: what it said is heard to its end.
    fn end(&mut self, mut guests: mpsc::UnboundedReceiver<Box<dyn Guest>>, outcome: Outcome) {
        if !self.is_closed {
            self.listen();
        }
        guests.close();
        while let Ok(guest) = guests.try_recv() {
            guest.returned(ConnectError::Reset);
        }
        self.table.clear(outcome);
    }
}
