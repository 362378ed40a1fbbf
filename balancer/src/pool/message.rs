//! Messages that a command sends to the programs of a pool's workers, and their delivery. Plain data.

use std::fmt;

use super::operation::SlotRange;

/// A JSON value for the programs in some of a pool's workers.
///
/// Only the programs may read the text. So `Debug` does not show it, and no log contains it.
#[derive(Clone, PartialEq, Eq)]
pub struct Message {
    /// The slots of these workers.
    pub slots: SlotRange,
    /// The value, as it was written.
    pub json: String,
}

/// The result of sending a message to one process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// The slot.
    pub slot: u32,
    /// The process, if there is one.
    pub pid: Option<u32>,
    /// `Ok` once the message is on the process's channel; the program may not have read it yet. `Err` says in words why
    /// it is not on the channel.
    pub result: Result<(), String>,
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message").field("slots", &self.slots).field("bytes", &self.json.len()).finish()
    }
}
