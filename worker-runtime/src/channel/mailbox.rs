//! Messages of the program on a channel: sending, receiving, and the queue between.

use std::collections::VecDeque;

use tokio::task::coop::consume_budget;

use crate::protocol::packet::{MAX_MESSAGE, ToMaster};

use super::link::Link;

/// The most messages that may wait for the program: 16 MiB if all have the maximum length. With this bound a program
/// that receives no messages does not grow.
pub(super) const MAX_LETTERS: usize = 256;

/// The most bytes that may wait for the master before messages are refused: 1 MiB.
pub(super) const MAX_WAITING: usize = 16 * MAX_MESSAGE;

/// Messages that the program has not received yet.
#[derive(Debug, Default)]
pub(super) struct Mailbox {
    letters: VecDeque<String>,
    lost: u64,
}

/// The reason why a message was not sent.
#[derive(Debug)]
pub(crate) enum PostError {
    /// The master is gone.
    Ended,
    /// Too many bytes wait for the master already.
    Full,
}

impl Mailbox {
    /// Queues a message, or drops it if the queue is full. The newest message is lost and not the oldest, since the
    /// oldest continue those that the program has received before.
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
    /// Sends one JSON value of at most [`MAX_MESSAGE`] bytes, or queues it until the socket has room.
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

    /// Returns the next message. Returns `None` after the last one when the worker drains or the master is gone. Cancel
    /// safe.
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

    /// Returns the number of messages that were lost because too many were waiting.
    pub(crate) fn lost_letters(&self) -> u64 {
        self.state().inbox.mailbox.lost
    }

    fn next_letter(&self) -> Option<String> {
        let mailbox = &mut self.state().inbox.mailbox;
        let letter = mailbox.letters.pop_front();
        // Several tasks may wait for a message, and a notification wakes one of them.
        if !mailbox.is_empty() {
            self.letters.notify_one();
        }
        letter
    }

    /// Reads a batch, and leaves packets that need an answer to the accept loop. Returns true if the kernel has no
    /// more.
    fn overhear(&self) -> bool {
        let mut state = self.state();
        let is_empty = state.inbox.read(self.socket());
        self.after_reading(&state);
        if state.inbox.is_owed_an_answer() {
            self.arrivals.notify_one();
            // If the accept loop has ended, the driver answers.
            self.work.notify_one();
        }
        is_empty
    }

    /// Returns true if reading may find a message: not after the channel's end, and not while too much waits for the
    /// accept loop's answer.
    fn hears_on(&self) -> bool {
        let inbox = &self.state().inbox;
        !inbox.has_ended() && !inbox.is_full()
    }
}
