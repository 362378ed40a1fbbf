//! One incarnation of a worker, as the data path sees it.

use std::fmt;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use tokio::sync::Notify;

use super::{HandoffSender, Sources};
use crate::os::pidfd::is_exiting;
use crate::stats::{Counter, Outcome, SlotStats};

/// A worker's stable number in its pool, from 0. A pid is not stable; this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SlotId(pub u32);

impl SlotId {
    /// Returns the number as an index, for lists that hold one entry a slot.
    pub fn index(self) -> usize {
        // Lossless: Linux has no targets with pointers of less than 32 bits.
        self.0 as usize
    }
}

impl fmt::Display for SlotId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The endpoint at which a worker takes its connections. It belongs to the incarnation: a new process gets a new one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Endpoint {
    /// A loopback TCP address.
    Tcp(SocketAddr),
    /// The path of a unix stream socket.
    Unix(PathBuf),
    /// The same in a folder of the user that the worker runs as, and that user's number. The worker may put anything at
    /// the path, such as a link to a socket that only the master may reach. So the master connects only if that user
    /// listens there.
    UnixOf(PathBuf, u32),
    /// None: the worker accepts on a socket it inherited, and the master cannot connect to it.
    Inherited,
    /// The worker's channel, over which it gets accepted sockets.
    Channel,
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Endpoint::Tcp(address) => address.fmt(f),
            Endpoint::Unix(path) | Endpoint::UnixOf(path, _) => write!(f, "unix:{}", path.display()),
            Endpoint::Inherited => f.write_str("inherited"),
            Endpoint::Channel => f.write_str("channel"),
        }
    }
}

/// The standing of an upstream: only one that is up gets new connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Standing {
    /// In rotation.
    Up = 0,
    /// Out of rotation. Its process may still finish its connections.
    Down = 1,
    /// Its process has ended.
    Dead = 2,
}

/// The phase of an upstream's process, as far as it is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProcessPhase {
    /// It runs, or nothing else is known.
    Running,
    /// It is ending. Its exit code is reported later.
    Exiting,
    /// It ended with exit code 0.
    EndedWell,
    /// It ended by a signal or with another exit code: its last response may be cut short.
    EndedBadly,
}

/// The weight of a worker whose configured weight is 1. [`Upstream::weight`] counts in hundredths, so that a weight can
/// grow by one percent.
pub const UNIT_WEIGHT: u32 = 100;

/// The number of connections that one worker may have been handed and not taken. A healthy worker takes each within a
/// turn of its loop, and only one is in flight at a time; further ones wait in the kernel's backlog. The kernel also bounds the descriptors in flight (`ETOOMANYREFS`, unix(7)).
pub const MAX_PENDING: usize = 64;

/// One incarnation of a worker: its endpoint, its standing, and its number of connections.
#[derive(Debug)]
pub struct Upstream {
    /// The slot it fills.
    pub slot: SlotId,
    /// The number of the process in that slot, from 1.
    pub incarnation: u64,
    /// The address at which it listens.
    pub endpoint: Endpoint,
    /// The counters of its slot.
    pub stats: Arc<SlotStats>,
    /// Bytes from this incarnation that were written to clients: a sign of life.
    pub sent: Counter,
    /// The ended connections of this incarnation, by [`Outcome`]. Its drain is judged by them.
    pub closes: [Counter; Outcome::COUNT],
    /// The source addresses of connections to it.
    pub sources: Sources,
    standing: AtomicU8,
    process: OnceLock<Arc<OwnedFd>>,
    handoff_sender: OnceLock<HandoffSender>,
    is_stalled: AtomicBool,
    is_outlived: AtomicBool,
    is_draining: AtomicBool,
    ended_well: OnceLock<bool>,
    weight: AtomicU32,
    pub(super) active: AtomicUsize,
    pub(super) connecting: AtomicUsize,
    pub(super) waiting: AtomicUsize,
    pub(super) unsettled: AtomicUsize,
    pub(super) idle: Notify,
}

impl Upstream {
    /// Makes an upstream that is not in rotation yet.
    pub fn new(slot: SlotId, incarnation: u64, endpoint: Endpoint, stats: Arc<SlotStats>) -> Self {
        Self {
            slot,
            incarnation,
            endpoint,
            stats,
            sent: Counter::default(),
            closes: Default::default(),
            sources: Sources::default(),
            standing: AtomicU8::new(Standing::Down as u8),
            process: OnceLock::new(),
            handoff_sender: OnceLock::new(),
            is_stalled: AtomicBool::new(false),
            is_outlived: AtomicBool::new(false),
            is_draining: AtomicBool::new(false),
            ended_well: OnceLock::new(),
            weight: AtomicU32::new(UNIT_WEIGHT),
            active: AtomicUsize::new(0),
            connecting: AtomicUsize::new(0),
            waiting: AtomicUsize::new(0),
            unsettled: AtomicUsize::new(0),
            idle: Notify::new(),
        }
    }

    /// Returns its standing, which says if connections may start on it.
    pub fn standing(&self) -> Standing {
        match self.standing.load(Ordering::SeqCst) {
            0 => Standing::Up,
            1 => Standing::Down,
            _ => Standing::Dead,
        }
    }

    /// Changes the standing. Death is final: a dead upstream stays dead.
    pub fn set_standing(&self, standing: Standing) {
        let revive = |now| (now != Standing::Dead as u8).then_some(standing as u8);
        let _ = self.standing.fetch_update(Ordering::SeqCst, Ordering::SeqCst, revive);
        self.idle.notify_waiters();
    }

    /// Sets its process. Only the first call has an effect.
    pub fn set_process(&self, pidfd: Arc<OwnedFd>) {
        let _ = self.process.set(pidfd);
    }

    /// Returns its process, once it has one.
    pub fn process(&self) -> Option<&Arc<OwnedFd>> {
        self.process.get()
    }

    /// Sets the sender for connections that are handed over to it. Only the first call has an effect.
    pub fn set_handoff_sender(&self, handoff_sender: HandoffSender) {
        let _ = self.handoff_sender.set(handoff_sender);
    }

    /// Returns the sender into its channel, where it has one.
    pub fn handoff_sender(&self) -> Option<&HandoffSender> {
        self.handoff_sender.get()
    }

    /// Returns true if a handed-over connection has been pending for so long that other workers are better.
    pub fn is_stalled(&self) -> bool {
        self.is_stalled.load(Ordering::Relaxed)
    }

    /// Sets the stalled flag. Only the task of its channel calls it.
    pub fn set_stalled(&self, is_stalled: bool) {
        self.is_stalled.store(is_stalled, Ordering::Relaxed);
    }

    /// Returns true if it may be handed one more connection.
    pub fn has_room(&self) -> bool {
        self.connecting() < MAX_PENDING
    }

    /// Returns true if more than `MAX_PENDING` connections are pending. The caller's own lease is already counted.
    pub fn is_crowded(&self) -> bool {
        self.connecting() > MAX_PENDING
    }

    /// Records that its process ended before others of its process group, which still serve its connections.
    pub fn set_outlived(&self) {
        self.is_outlived.store(true, Ordering::SeqCst);
    }

    /// Records that it has left the rotation for good and is being ended.
    pub fn set_draining(&self) {
        self.is_draining.store(true, Ordering::SeqCst);
    }

    /// Returns true once it is being ended.
    pub fn is_draining(&self) -> bool {
        self.is_draining.load(Ordering::SeqCst)
    }

    /// Records that its process ended; `well` is true for exit code 0. No connection starts on it any more.
    pub fn set_ended(&self, well: bool) {
        let _ = self.ended_well.set(well);
        self.set_standing(Standing::Dead);
    }

    /// Returns the phase of its process. Costs one cheap system call while the process runs.
    pub fn process_phase(&self) -> ProcessPhase {
        match (self.ended_well.get(), self.process.get()) {
            (Some(true), _) => ProcessPhase::EndedWell,
            (Some(false), _) => ProcessPhase::EndedBadly,
            (None, Some(pidfd)) if !self.is_outlived.load(Ordering::SeqCst) && is_exiting(pidfd) => {
                ProcessPhase::Exiting
            }
            (None, _) => ProcessPhase::Running,
        }
    }

    /// Returns the number of leases held on it: connections from pick until both ends are closed.
    pub fn active(&self) -> usize {
        self.active.load(Ordering::SeqCst)
    }

    /// Returns the number of leases whose connect has not succeeded yet. Where connections are handed over: those that
    /// it has not taken yet.
    pub fn connecting(&self) -> usize {
        self.connecting.load(Ordering::SeqCst)
    }

    /// Returns the number of connections that wait for its answer: client bytes went up, and none came back since.
    ///
    /// The master sees only bytes. A client that sends and expects no answer counts as waiting for ever.
    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Returns its share of the pool's connections, in hundredths of a configured weight: 1 or more.
    pub fn weight(&self) -> u32 {
        self.weight.load(Ordering::Relaxed)
    }

    /// Changes the weight. Snapshots that are published from then on use it.
    pub fn set_weight(&self, weight: u32) {
        self.weight.store(weight.max(1), Ordering::Relaxed);
    }

    /// Waits until it is out of rotation and no lease is held. Cancel safe.
    pub async fn drained(&self) {
        self.until(|| self.active() == 0).await;
    }

    /// Waits as [`Upstream::drained`] does, and until the ends of all its connections are known. Cancel safe.
    pub async fn settled(&self) {
        self.until(|| self.active() == 0 && self.unsettled.load(Ordering::SeqCst) == 0).await;
    }

    async fn until(&self, is_so: impl Fn() -> bool) {
        loop {
            let changed = self.idle.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if self.standing() != Standing::Up && is_so() {
                return;
            }
            changed.await;
        }
    }
}
