//! The events that a slot gets, and the effects that it decides.

use std::sync::Arc;

use tokio::time::Instant;

use super::health::Sign;
use super::process::DrainMethod;
use crate::config;
use crate::stats::Restart as Cause;

/// An event of a slot.
#[derive(Clone, Debug)]
pub(in crate::supervisor) enum Event {
    /// The slot shall run.
    Start,
    /// The slot shall drain its process and stop.
    Stop,
    /// The slot shall drain its process, end it and start again.
    Restart,
    /// The slot shall end its processes now.
    Kill,
    /// A replacement for the present process shall start.
    Replace { config: Arc<config::PoolConfig>, generation: u64, cause: Cause },
    /// The replacement shall be abandoned.
    Abandon,
    /// The spawn budget was empty: the process may start at that time.
    Postponed(u64, Instant),
    /// The process said that it is ready, or its endpoint answered.
    Ready(u64),
    /// A client waits for the process, which has not taken it.
    Waits(u64),
    /// A sign was seen of a worker that has been ready.
    Sign(u64, Sign),
    /// The worker is hung and is to be killed.
    Hung(u64),
    /// Another user listens on the worker's private port.
    PortTaken(u64),
    /// The process that was started has exited when it was asked to; others of its group have got the signal.
    LeaderEnded(u64),
    /// The process has exited, or could not be started.
    Exited(u64),
    /// No new connection can reach the process any more.
    Quiesced(u64, DrainMethod),
    /// The process has no connection any more.
    Drained(u64),
    /// The process has closed its channel.
    ChannelClosed(u64),
    /// True: the application has closed its last server. False: it listens again.
    ServersClosed(u64, bool),
    /// The process ends by itself, and finishes its connections.
    Leaves(u64),
    /// The process says that it ends.
    Stopping(u64),
    /// Time has passed.
    Tick,
}

/// An action that a slot decides. Effects are applied in the order in which they are returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::supervisor) enum Effect {
    /// Start incarnation n.
    Launch(u64),
    /// The process is in rotation now.
    Admit(u64),
    /// The process is suspect now.
    Suspect(u64),
    /// The process is busy now: it gets no new connections while another worker is free.
    Busy(u64),
    /// The process leaves the rotation for good: watch until it is quiesced, and watch its connections.
    Drain(u64),
    /// Close the connections of the process that have no response pending.
    CloseIdle(u64),
    /// Abort the connections that its drain left open.
    Abort(u64),
    /// The process was not ready in time.
    Late(u64),
    /// Disconnect the process from Node's cluster.
    Disconnect(u64),
    /// Send the stop signal to those processes of the worker's group that are to get it.
    Terminate(u64),
    /// Send SIGKILL to the worker's group.
    Kill(u64),
    /// Count a replacement.
    Restarted(Cause),
    /// Process `to` serves the slot now, in place of `from` if there was one.
    Switched { from: Option<u64>, to: u64 },
    /// The new process did not become ready: it exited, or was late.
    ReplacementFailed(u64),
    /// Process `old` serves the slot again, since process `new`, which had replaced it, failed.
    PutBack { old: u64, new: u64, why: &'static str },
}
