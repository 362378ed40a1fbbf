//! A message to the programs of a pool, and its receivers: plain data.

use std::fmt;

use super::operation::SlotRange;

/// A JSON value for the programs in some of a pool's workers.
///
/// Its text is nobody's business but theirs: it is not shown for debugging, and so in no log.
#[derive(Clone, PartialEq, Eq)]
pub struct Message {
    /// The workers.
    pub slots: SlotRange,
    /// The value, as it was written.
    pub json: String,
}

/// The delivery of a message to one process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// The slot.
    pub slot: u32,
    /// The process, if there is one.
    pub pid: Option<u32>,
    /// `Ok` once it is on the process's channel, which does not say that the program has read it; `Err` says in words why
    /// it is not.
    pub result: Result<(), String>,
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message").field("slots", &self.slots).field("bytes", &self.json.len()).finish()
    }
}
