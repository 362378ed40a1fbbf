//! The state that the parts of a channel share.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::io::unix::AsyncFd;
use tokio::sync::Notify;

use crate::draining::Draining;
use crate::fds;
use crate::protocol::packet::{Ids, ToMaster};
use crate::stream::Stream;

use super::inbox::Inbox;
use super::outbox::Outbox;

/// The longest wait for a full socket before the next attempt. A socket reports when it has room again, but a kernel
/// that ran out of memory does not report when it has some.
const RETRY: Duration = Duration::from_millis(50);

/// The socket, the packets that were read from it, and the packets that are to be written to it.
#[derive(Debug)]
pub(crate) struct Link {
    socket: AsyncFd<OwnedFd>,
    state: Mutex<State>,
    /// Connections that have ended and that the master does not know to have ended. They have their own lock, since the
    /// end of a connection should not wait while a batch is read.
    ended: Mutex<Vec<u64>>,
    /// Wakes the accept loop: another task has read packets that the accept loop must answer, or the accept loop's
    /// answers have left the outbox.
    pub(super) arrivals: Notify,
    /// Wakes the driver: there are packets to write, or the channel is closed.
    pub(super) work: Notify,
    /// Wakes a task that receives messages: there is a message, or reading goes on.
    #[cfg(feature = "messages")]
    pub(super) letters: Notify,
    pub(super) draining: Draining,
}

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) inbox: Inbox,
    pub(super) outbox: Outbox,
    /// No more connections are taken.
    is_closed: bool,
}

impl Link {
    pub(super) fn over(socket: OwnedFd, draining: Draining) -> io::Result<Self> {
        Ok(Self {
            socket: fds::watch(socket)?,
            state: Mutex::default(),
            ended: Mutex::default(),
            arrivals: Notify::new(),
            work: Notify::new(),
            #[cfg(feature = "messages")]
            letters: Notify::new(),
            draining,
        })
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(feature = "messages")]
    pub(super) fn socket(&self) -> &AsyncFd<OwnedFd> {
        &self.socket
    }

    /// Waits until there may be something to read, then calls `read`, which returns true if the kernel has no more.
    /// Must not be called after the channel's end, since an ended channel is readable for ever. Cancel safe.
    pub(super) async fn when_readable(&self, read: impl FnOnce() -> bool) {
        match self.socket.readable().await {
            Ok(mut ready) => {
                if read() {
                    ready.clear_ready();
                }
            }
            // The runtime is shutting down.
            Err(_) => std::future::pending().await,
        }
    }

    /// Does one turn of the accept loop: reads a batch and answers it. Returns true if the kernel has no more packets.
    pub(super) fn turn(&self) -> bool {
        let mut state = self.state();
        let is_empty = state.inbox.read(&self.socket);
        self.after_reading(&state);
        self.answer_with(&mut state);
        is_empty
    }

    /// Answers the packets that were read.
    pub(super) fn answer(&self) {
        self.answer_with(&mut self.state());
    }

    fn answer_with(&self, state: &mut State) {
        #[cfg(feature = "messages")]
        let was_full = state.inbox.is_full();
        state.inbox.answer(&self.socket, &mut state.outbox, state.is_closed);
        #[cfg(feature = "messages")]
        if was_full {
            self.letters.notify_one();
        }
        self.after_writing(state);
    }

    /// Wakes a task that receives messages if there are any, and begins the drain if the channel has ended. Must be
    /// called after each read.
    pub(super) fn after_reading(&self, state: &State) {
        #[cfg(feature = "messages")]
        if !state.inbox.mailbox.is_empty() {
            self.letters.notify_one();
        }
        if state.inbox.has_ended() {
            self.draining.begin();
        }
    }

    /// Wakes the driver if packets wait, and begins the drain if the channel is broken. Must be called after each push.
    pub(super) fn after_writing(&self, state: &State) {
        if state.outbox.is_blocked() {
            self.work.notify_one();
        }
        if state.outbox.is_broken() {
            self.draining.begin();
        }
    }

    /// Returns the next connection that the master knows to be taken.
    pub(super) fn next_taken(self: &Arc<Self>) -> Option<Stream> {
        let State { inbox, outbox, .. } = &mut *self.state();
        let (id, stream) = inbox.next_taken(outbox)?;
        Some(stream.handed_over(Ending { link: Arc::clone(self), id }))
    }

    /// Returns true if connections are taken, also if the master does not know it yet.
    pub(super) fn has_taken(&self) -> bool {
        !self.state().inbox.taken().is_empty()
    }

    /// Returns true if the accept loop reads: not while answers wait for the master to read, and not after the
    /// channel's end.
    pub(super) fn reads_on(&self) -> bool {
        let state = self.state();
        !state.inbox.has_ended() && !state.outbox.is_blocked()
    }

    /// Returns true if packets wait because the master does not read.
    pub(super) fn is_blocked(&self) -> bool {
        self.state().outbox.is_blocked()
    }

    /// Returns true if no more connections are taken.
    pub(super) fn is_closed(&self) -> bool {
        self.state().is_closed
    }

    /// Returns true if the accept loop has ended and the master is gone, so that no task needs the channel.
    pub(super) fn is_over(&self) -> bool {
        let state = self.state();
        state.is_closed && (state.inbox.has_ended() || state.outbox.is_broken())
    }

    /// Takes no more connections: refuses those without an answer, and closes those that the accept loop did not ask
    /// for.
    pub(super) fn close(&self) {
        let mut state = self.state();
        state.is_closed = true;
        let unwanted: Vec<_> = state.inbox.taken().drain(..).map(|(id, _)| id).collect();
        self.ended().extend(unwanted);
        self.answer_with(&mut state);
        self.work.notify_one();
    }

    fn ended(&self) -> MutexGuard<'_, Vec<u64>> {
        self.ended.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes the ends of connections and the waiting packets. Returns true if everything has been sent.
    fn write(&self) -> bool {
        let mut state = self.state();
        let was_blocked = state.outbox.is_blocked();
        let ended = std::mem::take(&mut *self.ended());
        for ids in Ids::batches(&ended) {
            state.outbox.push(&self.socket, |packet| ToMaster::Ended(ids).encode(packet));
        }
        state.outbox.flush(&self.socket);
        if was_blocked && !state.outbox.is_blocked() {
            self.arrivals.notify_one();
        }
        self.after_writing(&state);
        !state.outbox.is_blocked()
    }

    /// Waits until everything has been sent, or the channel is broken. Cancel safe.
    pub(super) async fn write_out(&self) {
        while !self.write() {
            let room = async {
                if let Ok(mut ready) = self.socket.writable().await
                    && !self.write()
                {
                    ready.clear_ready();
                }
            };
            let _ = tokio::time::timeout(RETRY, room).await;
        }
    }
}

/// Reports the end of a handed connection when it is dropped.
#[derive(Debug)]
pub(crate) struct Ending {
    link: Arc<Link>,
    id: u64,
}

impl Drop for Ending {
    fn drop(&mut self) {
        self.link.ended().push(self.id);
        self.link.work.notify_one();
    }
}
