//! The faults after which a worker's channel cannot go on. Pure.

use crate::printable;

/// A fault after which nothing on the channel can be relied on: the worker has to be ended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// A line is longer than the limit.
    #[error("the worker sent a line of more than {longest} bytes, which is the limit: send smaller messages")]
    LongLine {
        /// The limit, in bytes.
        longest: usize,
    },
    /// A line is not UTF-8.
    #[error(
        "the worker sent a line that is not UTF-8: `{excerpt}`; only Node itself may write to the descriptor that \
         NODE_CHANNEL_FD named"
    )]
    NotText {
        /// The beginning of the line.
        excerpt: String,
    },
    /// A line is not JSON.
    #[error(
        "the worker sent a line that is not JSON ({cause}): `{excerpt}`; only Node itself may write to the descriptor \
         that NODE_CHANNEL_FD named"
    )]
    NotJson {
        /// The beginning of the line.
        excerpt: String,
        /// The error of the JSON parser.
        cause: String,
    },
    /// One of Node's own messages is much longer than Node writes them.
    #[error(
        "the worker sent a cluster message of {length} bytes, but Node's own have at most a few hundred: `{excerpt}`"
    )]
    LongInternal {
        /// The length of the line, in bytes.
        length: usize,
        /// The beginning of the line.
        excerpt: String,
    },
    /// The worker sends more and more queries and does not read the answers.
    #[error("the worker waits for {0} answers and asks for more: it does not read its channel, or listens in a loop")]
    Greedy(usize),
    /// The worker cannot receive the listener that it asked for, and would wait for it forever.
    #[error(
        "the worker could not receive the listener for {key} in {tries} tries: is it out of descriptors (ulimit -n)?"
    )]
    NoListener {
        /// The key of the server that asked.
        key: String,
        /// The number of times that the listener was sent.
        tries: u8,
    },
}

/// Returns the beginning of a text from outside, for a log line.
pub(super) fn excerpt(text: &str) -> String {
    printable::excerpt(text, 120)
}
