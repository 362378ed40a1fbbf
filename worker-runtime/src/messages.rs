//! Messages between the program and its master.

use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::channel::{Link, PostError};
use crate::protocol::packet::MAX_MESSAGE;

/// Typed messages to and from the master. Each message is one JSON value of at most [`MAX_MESSAGE`] bytes. Clones share
/// the channel; each message is received by one of them.
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

/// The reason why a message was not sent or received.
#[derive(Debug, thiserror::Error)]
pub enum MessageError {
    /// This worker has no channel to a master: it listens on a socket of its own or an inherited one.
    #[error("no channel to a master: messages need a master that hands connections over (mode `handoff`)")]
    NoChannel,
    /// The master is gone.
    #[error("the master has closed its channel")]
    Ended,
    /// The message is longer than [`MAX_MESSAGE`].
    #[error("the message has {bytes} bytes of JSON; at most {MAX_MESSAGE} are allowed")]
    TooLong {
        /// The number of bytes of its JSON.
        bytes: usize,
    },
    /// The master reads more slowly than this worker sends: 1 MiB is waiting for it. Send less, or try again later.
    #[error("the master does not keep up: too many messages are waiting for it; send less, or try again later")]
    Busy,
    /// The value cannot be written as JSON, for example a map with keys that are not text.
    #[error("this value cannot be written as JSON")]
    Write(#[source] serde_json::Error),
    /// A message from the master is not JSON, or not of the expected type. The message is lost.
    #[error("a message from the master is not JSON of the expected type")]
    Read(#[source] serde_json::Error),
}

impl Messages {
    pub(crate) fn over(link: Option<Arc<Link>>) -> Self {
        Self { link }
    }

    /// Sends one message without waiting. If the master does not read at once, a task of the runtime sends the message
    /// later, in order. A message that was sent may still never be read.
    ///
    /// # Errors
    ///
    /// Fails if there is no channel, the channel has ended, the message is too long, too many bytes are waiting
    /// already, or the value cannot be written as JSON.
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

    /// Returns the next message from the master. Returns `None` if there is no channel, and after the last message when
    /// the worker drains or the master is gone. So a task that receives in a loop ends with the worker. Cancel safe.
    ///
    /// From the worker's start on, 256 messages are kept until the program receives them. While that many wait, newer
    /// ones are lost: see [`Messages::lost`]. Messages also arrive while the program does not accept, until 16
    /// connections or pings wait for [`Worker::accept`](crate::Worker::accept). Then the program has to accept first,
    /// since everything comes on one channel, in order.
    ///
    /// # Errors
    ///
    /// The item is an error if the message is not a `T`. More messages may follow.
    pub async fn recv<T: DeserializeOwned>(&self) -> Option<Result<T, MessageError>> {
        let json = self.link.as_ref()?.letter().await?;
        Some(serde_json::from_str(&json).map_err(MessageError::Read))
    }

    /// Returns the number of messages from the master that were lost because 256 were waiting already.
    pub fn lost(&self) -> u64 {
        self.link.as_ref().map_or(0, |link| link.lost_letters())
    }
}
