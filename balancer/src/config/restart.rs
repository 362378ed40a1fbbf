//! The options for restarting a worker that ended.

use std::time::Duration;

/// The options for restarting a worker that ended. The first restart is at once. Later ones wait `backoff` × 2ⁿ, up to
/// `backoff_max`, ±20 %.
#[derive(Clone, Debug, PartialEq)]
pub struct Restart {
    /// The first wait. Default 100 ms.
    pub backoff: Duration,
    /// The longest wait. Default 30 s.
    pub backoff_max: Duration,
    /// After a worker was ready for this long, its next exit counts as a first one again. Default 10 s.
    pub reset_after: Duration,
    /// More exits than this within `window` put the slot into state `failed`. Default 10.
    pub max_exits: u32,
    /// The time in which exits are counted. Default 60 s.
    pub window: Duration,
    /// The effect of a failed slot on the master. Default `never`.
    pub give_up: GiveUp,
}

/// The effect of a slot in state `failed` on the master.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GiveUp {
    /// None: the slot is started again at the longest backoff, for ever.
    Never,
    /// The master stops with exit code 1. This is for containers: the orchestrator decides what happens next.
    Exit,
}

impl Default for Restart {
    fn default() -> Self {
        Self {
            backoff: Duration::from_millis(100),
            backoff_max: Duration::from_secs(30),
            reset_after: Duration::from_secs(10),
            max_exits: 10,
            window: Duration::from_secs(60),
            give_up: GiveUp::Never,
        }
    }
}
