//! What reaches a slot, and what it decides.

use std::sync::Arc;

use tokio::time::Instant;

use super::health::Sign;
use super::process::DrainMethod;
use crate::config;
use crate::stats::Restart as Cause;

/// What happens to a slot.
#[derive(Clone, Debug)]
pub(in crate::supervisor) enum Event {
    /// It shall run.
    Start,
    /// It shall drain and end.
    Stop,
    /// It shall drain, end and start again.
    Restart,
    /// It shall end now.
    Kill,
    /// A replacement shall take its place.
    Replace { config: Arc<config::PoolConfig>, generation: u64, cause: Cause },
    /// The replacement shall not.
    Abandon,
    /// The spawn budget was empty: it may start at that time.
    Postponed(u64, Instant),
    /// Its process said ready, or its endpoint answered.
    Ready(u64),
    /// A client waits for it that it has not taken.
    Waits(u64),
    /// Something was seen of a worker that has been ready.
    Sign(u64, Sign),
    /// The worker is hung and is to be killed.
    Hung(u64),
    /// Another user listens on its private port.
    PortTaken(u64),
    /// The process that was started has ended when it was asked to; others of its group have been told to.
    LeaderEnded(u64),
    /// Its process is gone, or never came to be.
    Exited(u64),
    /// No new connection can reach it any more.
    Quiesced(u64, DrainMethod),
    /// Nothing is left on it.
    Drained(u64),
    /// It has closed its channel.
    ChannelClosed(u64),
    /// Its application has closed its last server; or listens again.
    ServersClosed(u64, bool),
    /// It ends of its own accord, and finishes what it has.
    Leaves(u64),
    /// It says that it ends.
    Stopping(u64),
    /// Time has passed.
    Tick,
}

/// What is to be done, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::supervisor) enum Effect {
    /// Start incarnation n.
    Launch(u64),
    /// It is in rotation now.
    Admit(u64),
    /// It is suspect now.
    Suspect(u64),
    /// It is busy now: nothing new while another is free.
    Busy(u64),
    /// It leaves the rotation for good: watch until it is quiesced, and its connections.
    Drain(u64),
    /// Close what is owed nothing on it.
    CloseIdle(u64),
    /// Abort what its drain left open.
    Abort(u64),
    /// It was not ready in time.
    Late(u64),
    /// The end of its membership in Node's cluster.
    Disconnect(u64),
    /// The stop signal to those of its group that are to get it.
    Terminate(u64),
    /// SIGKILL to its group.
    Kill(u64),
    /// Count a replacement.
    Restarted(Cause),
    /// A process has its place: instead of another, or of none.
    Switched { from: Option<u64>, to: u64 },
    /// The new process did not become ready: it ended, or was late.
    ReplacementFailed(u64),
    /// A process has its place again, since the one that had taken it is no good.
    PutBack { old: u64, new: u64, why: &'static str },
}
