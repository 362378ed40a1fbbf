//! One incarnation's process and its observed state.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::context::ProcessContext;
use super::endpoint::PrivateEndpoint;
use super::notify::NotifyReach;
use super::port_owner::PortOwner;
use super::progress::Progress;
use super::recycling::Recycling;
use crate::channel::ChannelHandle;
use crate::os::child::ChildId;
use crate::output::Capture;
use crate::pool::CheckStatus;
use crate::supervisor::operation::ledger::Closes;

/// The processes of one slot by incarnation: the present one, a replacement, the parked and retiring ones.
pub(super) type Processes = BTreeMap<u64, WorkerProcess>;

/// One incarnation's process.
pub(super) struct WorkerProcess {
    /// The result of the last probe.
    pub(super) last_check: Option<CheckStatus>,
    /// True if the process counts as a start of its slot: a replacement does once it serves for good.
    pub(super) is_counted: bool,
    pub(super) context: ProcessContext,
    pub(super) private: PrivateEndpoint,
    pub(super) child: ChildId,
    /// The handle of the channel, if the process has one.
    pub(super) channel: Option<ChannelHandle>,
    pub(super) capture: Option<Capture>,
    pub(super) notify: AbortHandle,
    /// Knows if messages to the notify socket can arrive.
    pub(super) notify_reach: Arc<NotifyReach>,
    pub(super) start_error: Option<String>,
    /// The name of the process that went on in the background when the started one exited.
    pub(super) went_to_background: Option<String>,
    pub(super) status_text: Option<String>,
    /// Node runs in the process and has said so on its channel.
    pub(super) is_online: bool,
    pub(super) said_ready: bool,
    /// It has said that it ends, so it accepts no more.
    pub(super) said_stopping: bool,
    /// True once the looks have begun, after READY=1, that show if the process waits at the listeners that it was
    /// handed.
    pub(super) is_looked_at: bool,
    /// The process has been in rotation.
    pub(super) was_ready: bool,
    /// The process is busy, and was not suspect in between.
    pub(super) was_busy: bool,
    /// The process said that it finishes its connections after the stop signal.
    pub(super) drains_by_signal: bool,
    pub(super) next_probe: Option<Instant>,
    pub(super) next_look: Option<Instant>,
    pub(super) last_look: Option<String>,
    /// While the program listens on another address: the CPU seconds that its group had used, and since when it has
    /// used no more.
    pub(super) cpu_while_on_other_port: Option<(f64, Instant)>,
    pub(super) recycling: Recycling,
    /// A duplicate of the listener that the process made: with it waiting clients can be saved if the process dies.
    pub(super) listener_dup: Option<OwnedFd>,
    pub(super) progress: Progress,
    /// The time at which a check last connected to the process.
    pub(super) last_connect: Option<Instant>,
    /// The owner of the listener at the private port, when last checked.
    pub(super) port_owner: PortOwner,
    pub(super) drain: Option<Draining>,
}

/// The drain of a process.
pub(super) struct Draining {
    /// The time at which the process left the rotation.
    pub(super) since: Instant,
    /// The outcomes of the connections at that time.
    pub(super) before: Closes,
    /// The time of the next check; `None` once the process is quiesced.
    pub(super) next_look: Option<Instant>,
    /// The number of looks in vain.
    pub(super) looks: u32,
    /// The number of looks in a row at which no connection could reach the process any more.
    pub(super) closed_looks: u32,
}

impl Drop for WorkerProcess {
    fn drop(&mut self) {
        self.notify.abort();
    }
}

/// The most CPU time that an idle group may use: a few ticks of the kernel's clock.
const IDLE_CPU: f64 = 0.03;
/// The time without CPU use after which a group that listens on another address counts as idle there.
const IDLE_FOR: std::time::Duration = std::time::Duration::from_secs(3);

impl WorkerProcess {
    /// The text of the last check, if that failed.
    pub(super) fn failed_check(&self) -> Option<&str> {
        self.last_check.as_ref().filter(|check| !check.is_ok).map(|check| check.what.as_str())
    }

    /// Records that the process group listens on another address, and the CPU time that it has used.
    pub(super) fn seen_on_other_port(&mut self, cpu_seconds: f64, now: Instant) {
        match self.cpu_while_on_other_port {
            Some((used, _)) if cpu_seconds <= used + IDLE_CPU => {}
            _ => self.cpu_while_on_other_port = Some((cpu_seconds, now)),
        }
    }

    /// Returns true if the program listens on another address and does nothing more.
    pub(super) fn is_idle_on_other_port(&self, now: Instant) -> bool {
        self.last_look.is_some() && self.cpu_while_on_other_port.is_some_and(|(_, since)| now - since >= IDLE_FOR)
    }
}
