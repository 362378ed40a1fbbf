//! The doubles: a launcher that starts no program, and a data path without connections.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard};

use rustix::process::{PidfdFlags, getpid, pidfd_open};
use tokio::time::Instant;

use crate::channel::Channel;
use crate::config::Address;
use crate::dispatch::Client;
use crate::net::listeners::Listener;
use crate::os::child::{ChildEvent, ChildId, EndRequest, Exit, Launcher, Sink, Spec, StartError};
use crate::rotation::SlotId;
use crate::supervisor::DataPath;

/// The pid of the first child. No process of this machine has it: the kernel's highest is 4,194,304.
const FIRST_PID: u32 = 1 << 30;

/// The things that a played program does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Behaviour {
    /// It runs, and exits with code 0 at its stop signal.
    Good,
    /// It runs, and ignores its stop signal.
    Deaf,
    /// It exits with code 3 at once.
    Broken,
    /// It cannot be executed.
    Missing,
}

/// A child that was started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Started {
    pub(super) slot: usize,
    pub(super) program: String,
    pub(super) pid: u32,
    pub(super) at: Instant,
}

#[derive(Default)]
struct State {
    started: Vec<Started>,
    /// The children that have not exited.
    alive: BTreeMap<u64, Child>,
    /// Exceptions from what a program's name says, by slot.
    by_slot: BTreeMap<usize, Behaviour>,
    most_alive: usize,
}

struct Child {
    slot: usize,
    pid: u32,
    behaviour: Behaviour,
    sink: Sink,
}

/// Starts no program: the events of its children are made up, from the name of the program.
#[derive(Default)]
pub(super) struct TestLauncher(Mutex<State>);

impl TestLauncher {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// From now on every process of that slot behaves so, whatever its program is called.
    pub(super) fn set(&self, slot: usize, behaviour: Behaviour) {
        self.state().by_slot.insert(slot, behaviour);
    }

    /// Processes of that slot behave as their program says again.
    pub(super) fn unset(&self, slot: usize) {
        self.state().by_slot.remove(&slot);
    }

    /// All children that were started, the oldest first.
    pub(super) fn started(&self) -> Vec<Started> {
        self.state().started.clone()
    }

    /// The children of one slot that were started, the oldest first.
    pub(super) fn started_in(&self, slot: usize) -> Vec<Started> {
        self.started().into_iter().filter(|child| child.slot == slot).collect()
    }

    /// The number of children that have not exited.
    pub(super) fn alive(&self) -> usize {
        self.state().alive.len()
    }

    /// The most children that were alive at one time since the last call.
    pub(super) fn take_most_alive(&self) -> usize {
        let mut state = self.state();
        let alive = state.alive.len();
        std::mem::replace(&mut state.most_alive, alive)
    }

    /// The pid of the newest child of that slot that has not exited.
    pub(super) fn pid(&self, slot: usize) -> u32 {
        self.state().alive.values().rev().find(|child| child.slot == slot).unwrap().pid
    }

    /// Lets the newest child of that slot exit.
    pub(super) fn exit(&self, slot: usize, exit: Exit) {
        let mut state = self.state();
        let newest = *state.alive.iter().rev().find(|(_, child)| child.slot == slot).unwrap().0;
        let mut child = state.alive.remove(&newest).unwrap();
        (child.sink)(ChildEvent::Exited(exit));
    }
}

impl Launcher for TestLauncher {
    fn launch(&self, spec: Spec, mut sink: Sink) -> ChildId {
        let program = spec.program.to_string_lossy().into_owned();
        let number = spec.env.iter().find(|(name, _)| name == worker_runtime::protocol::ROUNDELAY_WORKER);
        let slot = number.and_then(|(_, value)| value.to_str()?.rsplit('/').next()?.parse().ok()).unwrap();
        let mut state = self.state();
        let behaviour = state.by_slot.get(&slot).copied().unwrap_or(match program.as_str() {
            "broken" => Behaviour::Broken,
            "missing" => Behaviour::Missing,
            "deaf" => Behaviour::Deaf,
            _ => Behaviour::Good,
        });
        let id = state.started.len() as u64;
        let pid = FIRST_PID + u32::try_from(id).unwrap();
        state.started.push(Started { slot, program, pid, at: Instant::now() });
        if behaviour == Behaviour::Missing {
            let source = std::io::ErrorKind::NotFound.into();
            sink(ChildEvent::Failed(StartError { stage: "exec".to_owned(), source }));
            return ChildId(id);
        }
        let pidfd = Arc::new(pidfd_open(getpid(), PidfdFlags::empty()).unwrap());
        // The other ends are closed: its output has ended.
        let [stdout, stderr] = [(); 2].map(|()| std::io::pipe().unwrap().0.into());
        sink(ChildEvent::Forked { pid, pidfd, stdout, stderr });
        sink(ChildEvent::Executed);
        match behaviour {
            Behaviour::Broken => sink(ChildEvent::Exited(Exit::Code(3))),
            _ => drop(state.alive.insert(id, Child { slot, pid, behaviour, sink })),
        }
        state.most_alive = state.most_alive.max(state.alive.len());
        ChildId(id)
    }

    fn end(&self, child: ChildId, ending: EndRequest) {
        let mut state = self.state();
        let exit = match (ending, state.alive.get(&child.0).map(|child| child.behaviour)) {
            (_, None) | (EndRequest::Stop(..) | EndRequest::Expected(..), Some(Behaviour::Deaf)) => return,
            (EndRequest::Kill, Some(_)) => Exit::Signal(libc::SIGKILL),
            (EndRequest::Stop(..) | EndRequest::Expected(..), Some(_)) => Exit::Code(0),
        };
        if let Some(mut child) = state.alive.remove(&child.0) {
            (child.sink)(ChildEvent::Exited(exit));
        }
    }
}

/// A data path without connections; it remembers what it was asked.
#[derive(Default)]
pub(super) struct TestDataPath {
    asked: Mutex<Vec<(&'static str, u32, u64)>>,
}

impl TestDataPath {
    fn remember(&self, what: &'static str, slot: SlotId, incarnation: u64) {
        self.asked.lock().unwrap().push((what, slot.0, incarnation));
    }

    /// Returns true if this was asked about that process.
    pub(super) fn was_asked(&self, what: &'static str, slot: u32, incarnation: u64) -> bool {
        self.asked.lock().unwrap().contains(&(what, slot, incarnation))
    }
}

impl DataPath for TestDataPath {
    fn worker_exited(&self, slot: SlotId, incarnation: u64, _recovered: Vec<OwnedFd>) {
        self.remember("worker_exited", slot, incarnation);
    }

    fn recall(&self, slot: SlotId, incarnation: u64, _recovered: Vec<OwnedFd>) {
        self.remember("recall", slot, incarnation);
    }

    fn close_idle(&self, slot: SlotId, incarnation: u64) {
        self.remember("close_idle", slot, incarnation);
    }

    fn run_channel(&self, _slot: SlotId, _channel: Channel) {}

    fn add_listener(&self, _listener: Listener, _listener_id: u32) -> std::io::Result<()> {
        Ok(())
    }

    fn close_listener(&self, _address: &Address) {}

    fn abort(&self, slot: SlotId, incarnation: u64) {
        self.remember("abort", slot, incarnation);
    }

    fn relay_to_public(&self, _address: usize, _next: &mut dyn FnMut() -> Option<Client>) -> usize {
        0
    }
}
