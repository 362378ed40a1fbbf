//! Messages of the program on a channel: their queue, and the ways in and out of it.

use std::collections::VecDeque;

use tokio::task::coop::consume_budget;

use crate::protocol::packet::{MAX_MESSAGE, ToMaster};

use super::link::Link;

/// Messages that may wait for the program: 16 MiB if all are as long as can be. A program that does not look at its messages
/// shall not grow with them.
pub(super) const MAX_LETTERS: usize = 256;

/// Bytes that may wait for the master before messages are refused: 1 MiB.
pub(super) const MAX_WAITING: usize = 16 * MAX_MESSAGE;

/// Messages that nobody has received.
#[derive(Debug, Default)]
pub(super) struct Mailbox {
    letters: VecDeque<String>,
    lost: u64,
}

/// Why a message was not sent.
#[derive(Debug)]
pub(crate) enum PostError {
    /// The master is gone.
    Ended,
    /// Too much waits for it already.
    Full,
}

impl Mailbox {
    /// Queues a message, or loses it where too many wait: those that came first are part of what was said before.
    pub(super) fn put(&mut self, json: &str) {
        if self.letters.len() < MAX_LETTERS {
            self.letters.push_back(json.to_owned());
        } else {
            self.lost += 1;
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.letters.is_empty()
    }
}

impl Link {
    /// Sends one JSON value of at most [`MAX_MESSAGE`] bytes, or lets it wait for its turn.
    pub(crate) fn post(&self, json: &str) -> Result<(), PostError> {
        let state = &mut *self.state();
        if state.inbox.has_ended() || state.outbox.is_broken() {
            return Err(PostError::Ended);
        }
        if state.outbox.bytes() + json.len() > MAX_WAITING {
            return Err(PostError::Full);
        }
        state.outbox.push(self.socket(), |packet| ToMaster::Message(json).encode(packet));
        self.after_writing(state);
        Ok(())
    }

    /// The next message; `None` after the last, when the worker drains or the master is gone. Cancel safe.
    pub(crate) async fn letter(&self) -> Option<String> {
        loop {
            consume_budget().await;
            if let Some(letter) = self.next_letter() {
                return Some(letter);
            }
            if self.draining.has_begun() {
                self.overhear();
                return self.next_letter();
            }
            tokio::select! {
                biased;
                () = self.letters.notified() => {}
                () = self.draining.begun() => {}
                () = self.when_readable(|| self.overhear()), if self.hears_on() => {}
            }
        }
    }

    /// How many messages were lost because too many waited.
    pub(crate) fn lost_letters(&self) -> u64 {
        self.state().inbox.mailbox.lost
    }

    fn next_letter(&self) -> Option<String> {
        let mailbox = &mut self.state().inbox.mailbox;
        let letter = mailbox.letters.pop_front();
        // Several may wait for one, and each is woken by one.
        if !mailbox.is_empty() {
            self.letters.notify_one();
        }
        letter
    }

    /// Reads a batch, and leaves to the accept loop what is its to answer. Returns whether the kernel has no more.
    fn overhear(&self) -> bool {
        let mut state = self.state();
        let is_empty = state.inbox.read(self.socket());
        self.after_reading(&state);
        if state.inbox.is_owed_an_answer() {
            self.arrivals.notify_one();
            // Where the accept loop has ended, the driver answers.
            self.work.notify_one();
        }
        is_empty
    }

    /// Whether reading may find a message: not after the end, and not while the accept loop has too much to answer.
    fn hears_on(&self) -> bool {
        let inbox = &self.state().inbox;
        !inbox.has_ended() && !inbox.is_full()
    }
}
