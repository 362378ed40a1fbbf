//! One incarnation's process and what is known of it.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::SystemTime;

use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::endpoint::PrivateEndpoint;
use super::notify::NotifyReach;
use super::port_owner::PortOwner;
use super::socket_progress::SocketProgress;
use crate::channel::ChannelHandle;
use crate::config;
use crate::os::accept_queue::PeerId;
use crate::os::child::ChildId;
use crate::output::Capture;
use crate::pool::CheckStatus;
use crate::rotation::Upstream;
use crate::supervisor::operation::ledger::Closes;
use crate::supervisor::slot::hang::{Condition, HangDetector};

/// The processes of one slot by incarnation: the present one, a replacement, those that leave.
pub(super) type Processes = BTreeMap<u64, WorkerProcess>;

/// One incarnation's process.
pub(super) struct WorkerProcess {
    /// What its last probe said.
    pub(super) last_check: Option<CheckStatus>,
    /// It counts as a start of its slot: a replacement does once it has kept the place.
    pub(super) is_counted: bool,
    pub(super) config: Arc<config::PoolConfig>,
    pub(super) generation: u64,
    pub(super) upstream: Arc<Upstream>,
    pub(super) private: PrivateEndpoint,
    pub(super) child: ChildId,
    /// The way to its channel, where it has one.
    pub(super) channel: Option<ChannelHandle>,
    pub(super) pid: Option<u32>,
    pub(super) started: SystemTime,
    pub(super) launched: Instant,
    pub(super) capture: Option<Capture>,
    pub(super) notify: AbortHandle,
    /// The path of its unix endpoint was not there at the last look.
    pub(super) is_endpoint_gone: bool,
    /// True if what it sends there can arrive.
    pub(super) notify_reach: Arc<NotifyReach>,
    pub(super) start_error: Option<String>,
    /// It ended by itself, and a process of this name went on.
    pub(super) went_to_background: Option<String>,
    pub(super) status_text: Option<String>,
    /// Node runs in it and has said so on its channel.
    pub(super) is_online: bool,
    pub(super) said_ready: bool,
    /// Since it said so, it is looked at whether it waits at what it was handed.
    pub(super) is_looked_at: bool,
    /// It has been in rotation.
    pub(super) was_ready: bool,
    /// It is busy, and was not suspect in between.
    pub(super) was_busy: bool,
    /// It said that it finishes what it has when it is told to end.
    pub(super) drains_by_signal: bool,
    pub(super) next_probe: Option<Instant>,
    pub(super) next_look: Option<Instant>,
    pub(super) last_look: Option<String>,
    /// While it listens on another address: the CPU seconds that its group had used, and when it had not used more since.
    pub(super) cpu_while_on_other_port: Option<(f64, Instant)>,
    /// When it is too old.
    pub(super) replace_at: Option<Instant>,
    /// A replacement was begun, and another may not before this.
    pub(super) not_before: Option<Instant>,
    /// A duplicate of the listener that it made: what waits there can be saved if it dies.
    pub(super) listener_dup: Option<OwnedFd>,
    pub(super) hang: HangDetector,
    /// What it seemed to be when that was last told to its slot.
    pub(super) condition: Condition,
    /// Connections that it has taken, at the last look at them.
    pub(super) sockets: SocketProgress,
    /// How many sockets of clients its group holds and whether anything moved on them; a look that was not counted yet.
    pub(super) held: Option<(usize, bool)>,
    pub(super) held_count: Option<usize>,
    /// Where checks of ours came from that it may not have taken yet.
    pub(super) own_checks: Vec<PeerId>,
    /// When the connections in its queue may be looked up next: a walk through all of the machine's.
    pub(super) next_lookup: Option<Instant>,
    /// The length of its queue, its bytes to clients and the connections that it has taken and ended, at the last look.
    pub(super) queue_length: u32,
    pub(super) written: u64,
    pub(super) done: u64,
    /// A socket listened at its endpoint at the last look.
    pub(super) is_listening: bool,
    /// It was said that a debugger holds it.
    pub(super) is_held: bool,
    /// When a check last connected to it.
    pub(super) last_connect: Option<Instant>,
    /// Whose listener was at its private port when that was last asked.
    pub(super) port_owner: PortOwner,
    pub(super) drain: Option<Draining>,
}

/// A process on its way out.
pub(super) struct Draining {
    /// When it left the rotation.
    pub(super) since: Instant,
    /// What had become of its connections by then.
    pub(super) before: Closes,
    /// When it is checked next; none once it is quiesced.
    pub(super) next_look: Option<Instant>,
    /// Looks in vain.
    pub(super) looks: u32,
    /// Looks in a row at which no connection could reach it any more.
    pub(super) closed_looks: u32,
}

impl Drop for WorkerProcess {
    fn drop(&mut self) {
        self.notify.abort();
    }
}

/// How much CPU time a group that does nothing may use: a few ticks of the kernel's clock.
const IDLE_CPU: f64 = 0.03;
/// For how long a group that listens on another address must have used none to be taken for one that is done.
const IDLE_FOR: std::time::Duration = std::time::Duration::from_secs(3);

impl WorkerProcess {
    /// What its last check said, if that failed.
    pub(super) fn failed_check(&self) -> Option<&str> {
        self.last_check.as_ref().filter(|check| !check.is_ok).map(|check| check.what.as_str())
    }

    /// Its group was seen to listen on another address, having used that much CPU time.
    pub(super) fn seen_on_other_port(&mut self, cpu_seconds: f64, now: Instant) {
        match self.cpu_while_on_other_port {
            Some((used, _)) if cpu_seconds <= used + IDLE_CPU => {}
            _ => self.cpu_while_on_other_port = Some((cpu_seconds, now)),
        }
    }

    /// True if it listens on another address and does nothing more.
    pub(super) fn is_idle_on_other_port(&self, now: Instant) -> bool {
        self.last_look.is_some() && self.cpu_while_on_other_port.is_some_and(|(_, since)| now - since >= IDLE_FOR)
    }
}
