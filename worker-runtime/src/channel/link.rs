//! What the parts of a channel share.

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

/// How long a full socket is waited for before it is tried again. It says when it has room; a kernel without memory does not.
const RETRY: Duration = Duration::from_millis(50);

/// The socket, what was read from it and what is to be written to it.
#[derive(Debug)]
pub(crate) struct Link {
    socket: AsyncFd<OwnedFd>,
    state: Mutex<State>,
    /// Connections that have ended, and of which the master does not know it. Has its own lock, since the end of a
    /// connection should not have to wait for a batch that is read.
    ended: Mutex<Vec<u64>>,
    /// For the accept loop: somebody else has read what is its to answer, or what it has said has left the outbox.
    pub(super) arrivals: Notify,
    /// For the driver: there is something to say, or the channel is closed.
    pub(super) work: Notify,
    /// For who receives messages: there is one, or reading goes on.
    #[cfg(feature = "messages")]
    pub(super) letters: Notify,
    pub(super) draining: Draining,
}

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) inbox: Inbox,
    pub(super) outbox: Outbox,
    /// Nothing is taken any more.
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

    /// Waits until there may be something to read, then lets `read` do it, which says whether the kernel has no more. Not to
    /// be asked after the channel's end, which can be read for ever. Cancel safe.
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

    /// One turn of the accept loop: reads a batch and answers it. Returns whether the kernel has no more.
    pub(super) fn turn(&self) -> bool {
        let mut state = self.state();
        let is_empty = state.inbox.read(&self.socket);
        self.after_reading(&state);
        self.answer_with(&mut state);
        is_empty
    }

    /// Answers what was read.
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

    /// Passes on what whoever has read it does not keep for himself.
    pub(super) fn after_reading(&self, state: &State) {
        #[cfg(feature = "messages")]
        if !state.inbox.mailbox.is_empty() {
            self.letters.notify_one();
        }
        if state.inbox.has_ended() {
            self.draining.begin();
        }
    }

    /// To be called after each push.
    pub(super) fn after_writing(&self, state: &State) {
        if state.outbox.is_blocked() {
            self.work.notify_one();
        }
        if state.outbox.is_broken() {
            self.draining.begin();
        }
    }

    /// A connection that the master knows to be ours.
    pub(super) fn next_taken(self: &Arc<Self>) -> Option<Stream> {
        let State { inbox, outbox, .. } = &mut *self.state();
        let (id, stream) = inbox.next_taken(outbox)?;
        Some(stream.handed_over(Ending { link: Arc::clone(self), id }))
    }

    /// Whether a connection is ours, or will be as soon as the master knows it.
    pub(super) fn has_taken(&self) -> bool {
        !self.state().inbox.taken().is_empty()
    }

    /// Whether the accept loop reads: not while the master does not take our answers, and not after its end.
    pub(super) fn reads_on(&self) -> bool {
        let state = self.state();
        !state.inbox.has_ended() && !state.outbox.is_blocked()
    }

    /// Whether the master does not take what we say.
    pub(super) fn is_blocked(&self) -> bool {
        self.state().outbox.is_blocked()
    }

    /// Whether nothing is taken any more.
    pub(super) fn is_closed(&self) -> bool {
        self.state().is_closed
    }

    /// Whether the master is gone and nobody waits for what it has sent.
    pub(super) fn is_over(&self) -> bool {
        let state = self.state();
        state.is_closed && (state.inbox.has_ended() || state.outbox.is_broken())
    }

    /// Takes nothing more: what is not answered is refused, what was not asked for is closed.
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

    /// Says which connections have ended, and what waits to be said. Returns whether all of it has left.
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

    /// Waits until everything has been said, or there is nobody left to say it to. Cancel safe.
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

/// Reports the end of a connection that was handed over, when it is dropped.
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
