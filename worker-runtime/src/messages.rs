//! Messages between the program and its master.

use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::channel::{Link, PostError};
use crate::protocol::packet::MAX_MESSAGE;

/// Typed messages to and from the master: each is one JSON value of at most [`MAX_MESSAGE`] bytes. Clones share the channel;
/// a message is received by one of them.
///
/// ```no_run
/// # use worker_runtime::{Messages, Worker};
/// #[derive(serde::Deserialize)]
/// struct Order {
///     colour: String,
/// }
///
/// # async fn example(worker: Worker) {
/// let messages: Messages = worker.messages();
/// tokio::spawn(async move {
///     while let Some(order) = messages.recv::<Order>().await {
///         match order {
///             Ok(order) => println!("we are {} now", order.colour),
///             Err(error) => eprintln!("not an order: {error}"),
///         }
///     }
/// });
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Messages {
    link: Option<Arc<Link>>,
}

/// A message did not get through.
#[derive(Debug, thiserror::Error)]
pub enum MessageError {
    /// This worker has no channel to a master: it listens by itself.
    #[error("no channel to a master: only one that hands connections over takes messages")]
    NoChannel,
    /// The master is gone.
    #[error("the master has closed its channel")]
    Ended,
    /// The message is longer than [`MAX_MESSAGE`].
    #[error("a message of {bytes} bytes, where {MAX_MESSAGE} are the most")]
    TooLong {
        /// Its bytes of JSON.
        bytes: usize,
    },
    /// The master reads slower than this worker speaks: 1 MiB waits for it. Say less, or say it again later.
    #[error("the master does not keep up: too much waits for it already")]
    Busy,
    /// The value cannot be JSON, such as a map whose keys are not text.
    #[error("this value cannot be written as JSON")]
    Write(#[source] serde_json::Error),
    /// What came is no JSON, or not of the type that was asked for. It is gone.
    #[error("a message from the master that is not what was expected")]
    Read(#[source] serde_json::Error),
}

impl Messages {
    pub(crate) fn over(link: Option<Arc<Link>>) -> Self {
        Self { link }
    }

    /// Sends one message. Does not wait: what the master does not read at once is sent later, in order, by a task of the
    /// runtime. That it was sent does not mean that anybody has read it.
    ///
    /// # Errors
    ///
    /// If there is no channel or it has ended, the message is too long, too much waits already, or it cannot be JSON.
    pub fn send<T: Serialize + ?Sized>(&self, message: &T) -> Result<(), MessageError> {
        let link = self.link.as_ref().ok_or(MessageError::NoChannel)?;
        let json = serde_json::to_string(message).map_err(MessageError::Write)?;
        if json.len() > MAX_MESSAGE {
            return Err(MessageError::TooLong { bytes: json.len() });
        }
        link.post(&json).map_err(|error| match error {
            PostError::Ended => MessageError::Ended,
            PostError::Full => MessageError::Busy,
        })
    }

    /// The next message from the master; `None` where there is no channel, and after the last one when the worker drains or
    /// the master is gone. So a task that receives in a loop ends with the worker. Cancel safe.
    ///
    /// 256 messages are kept for who has not asked yet, from the worker's start on; while so many wait, newer ones are lost:
    /// see [`Messages::lost`]. They arrive also while nobody accepts, until 16 connections or pings wait to be accepted or
    /// answered; then those have to be dealt with first, since all come on one channel, in order.
    ///
    /// # Errors
    ///
    /// The item is an error if the message is not a `T`. Others may follow.
    pub async fn recv<T: DeserializeOwned>(&self) -> Option<Result<T, MessageError>> {
        let json = self.link.as_ref()?.letter().await?;
        Some(serde_json::from_str(&json).map_err(MessageError::Read))
    }

    /// How many messages from the master were lost because 256 waited already.
    pub fn lost(&self) -> u64 {
        self.link.as_ref().map_or(0, |link| link.lost_letters())
    }
}
