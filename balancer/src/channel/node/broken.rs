//! Why a worker's channel cannot go on. Pure.

use crate::printable;

/// A message that a worker sent, or did not take, after which nothing on its channel can be relied on. The worker has
/// to be ended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// No end of line where one must be.
    #[error("the worker sent a line of more than {longest} bytes, the longest that is taken: send less at a time")]
    LongLine {
        /// The bound, in bytes.
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
    /// One of Node's own messages is longer than any that Node writes.
    #[error(
        "the worker sent a cluster message of {length} bytes, of which Node writes at most a few hundred: `{excerpt}`"
    )]
    LongInternal {
        /// Of the line, in bytes.
        length: usize,
        /// Its beginning.
        excerpt: String,
    },
    /// It asks on and does not read the answers.
    #[error("the worker waits for {0} answers and asks for more: it does not read its channel, or listens in a loop")]
    Greedy(usize),
    /// It cannot receive the listener that it asked for, and would wait for it for ever.
    #[error(
        "the worker could not receive the listener for {key} in {tries} tries: is it out of descriptors (ulimit -n)?"
    )]
    NoListener {
        /// Of the server that asked.
        key: String,
        /// The number of times it was sent.
        tries: u8,
    },
}

/// The beginning of a text from outside, for a log line.
pub(super) fn excerpt(text: &str) -> String {
    printable::excerpt(text, 120)
}
