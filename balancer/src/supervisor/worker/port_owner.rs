//! Checks the owner of a worker's private port before the worker counts as ready, and again while the owner may change.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::WorkerSlot;
use super::listener_owner::{Allowed, Held, OwnerCheck, OwnerQuery, is_passing};
use super::process::WorkerProcess;
use crate::os::accept_queue::listener_at;
use crate::rotation::Endpoint;
use crate::supervisor::WorkerEvent;
use crate::supervisor::slot::Event;

/// The pause between two tries while the kernel has no descriptors or memory for the query, and the most tries.
const AGAIN: Duration = Duration::from_millis(200);
const TRIES: usize = 150;

/// The known owner of the listener at a private port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum PortOwner {
    #[default]
    Unknown,
    /// The check is under way.
    Asked,
    /// No other user's listener. Its inode, if there was a listener.
    Allowed(Option<u64>),
}

impl WorkerSlot {
    /// Delays the ready event of a process until the owner of its port is known.
    pub(in crate::supervisor) fn after_port_owner(&mut self, event: Event) -> Option<Event> {
        let Event::Ready(incarnation) = event else { return Some(event) };
        let is_starting =
            self.slot.process(incarnation).is_some_and(crate::supervisor::slot::process::ProcessState::is_starting);
        match self.processes.get(&incarnation).map(|process| process.port_owner) {
            Some(PortOwner::Unknown) if is_starting && self.ask_port_owner(incarnation) => None,
            Some(PortOwner::Asked) if is_starting => None,
            _ => Some(event),
        }
    }

    /// Checks once more, if no duplicate of the listener keeps the port from others.
    pub(super) fn ask_port_owner_again(&mut self, incarnation: u64) {
        let process = self.processes.get(&incarnation).filter(|process| process.drain.is_none());
        if process.is_some_and(|process| {
            process.listener_dup.is_none() && matches!(process.port_owner, PortOwner::Allowed(_))
        }) {
            self.ask_port_owner(incarnation);
        }
    }

    /// Starts a check. Returns false if the process has no port of its own.
    fn ask_port_owner(&mut self, incarnation: u64) -> bool {
        let report = self.reporter(incarnation);
        let Some(process) = self.processes.get_mut(&incarnation) else { return false };
        let (&Endpoint::Tcp(address), Some(group)) = (&process.context.upstream.endpoint, process.context.pid()) else {
            return false;
        };
        let known = match process.port_owner {
            PortOwner::Allowed(known) => known,
            PortOwner::Unknown | PortOwner::Asked => None,
        };
        let (allowed, wants_duplicate) = (Allowed::of(&process.context.config), process.context.config.recover_queue);
        let question = OwnerQuery { address, group, allowed, known, wants_duplicate };
        process.port_owner = PortOwner::Asked;
        tokio::spawn(async move {
            for attempt in 1..=TRIES {
                let Ok(look) = tokio::task::spawn_blocking(move || question.look()).await else { return };
                match &look {
                    OwnerCheck::Unknown(error) if is_passing(error) && attempt < TRIES => {
                        tokio::time::sleep(AGAIN).await
                    }
                    _ => return report(WorkerEvent::PortOwner(look)),
                }
            }
        });
        true
    }

    /// Takes the result of a check. Returns the event that it means for the slot.
    pub(in crate::supervisor) fn port_owner_seen(&mut self, incarnation: u64, look: OwnerCheck) -> Option<Event> {
        let (worker, said) = (self.name(), &self.context.logged_owners);
        let process = self.processes.get_mut(&incarnation).filter(|process| process.drain.is_none())?;
        let Endpoint::Tcp(endpoint) = process.context.upstream.endpoint else { return None };
        let (pid, pool) = (process.context.pid(), &self.context.pool.name);
        match look {
            OwnerCheck::Nobody => process.port_owner = PortOwner::Allowed(None),
            OwnerCheck::Allowed(inode, held) => {
                process.port_owner = PortOwner::Allowed(Some(inode));
                match held {
                    Held::Duplicate(listener) => process.listener_dup = Some(listener),
                    Held::Outside(holder) if is_first(&said.is_outside) => tracing::warn!(
                        %worker, pid, %endpoint, holder,
                        "private port is held outside of the worker's process group (as by docker-proxy, sudo or setsid): \
                         used, but other processes can take it after the worker's end"
                    ),
                    Held::Refused(error) if is_first(&said.is_unheld) => tracing::info!(
                        pool, %error,
                        "no duplicate of a worker's listener: if the worker dies, the clients in its queue are lost and its port \
                         is free for other processes"
                    ),
                    Held::Outside(_) | Held::Refused(_) | Held::NotAsked => {}
                }
            }
            OwnerCheck::Stranger(stranger) => {
                let (uid, user, holder) = (stranger.uid, stranger.user.as_deref(), &stranger.holder);
                tracing::error!(
                    %worker, pid, %endpoint, uid, user, holder,
                    "private port is held by another user: not used, the worker is ended"
                );
                process.port_owner = PortOwner::Unknown;
                process.start_error = Some(stranger.told(endpoint));
                return Some(Event::PortTaken(incarnation));
            }
            // While descriptors are lacking the owner is not known, and the worker is not ready.
            OwnerCheck::Unknown(error) if is_passing(&error) => {
                process.port_owner = PortOwner::Unknown;
                return None;
            }
            OwnerCheck::Unknown(error) => {
                process.port_owner = PortOwner::Allowed(None);
                if is_first(&said.is_unknown) {
                    tracing::warn!(
                        pool, %error,
                        "cannot look up the owner of a private port (netlink sock_diag, /proc/net/tcp): port used unchecked"
                    );
                }
            }
        }
        let is_starting =
            self.slot.process(incarnation).is_some_and(crate::supervisor::slot::process::ProcessState::is_starting);
        is_starting.then_some(Event::Ready(incarnation))
    }

    /// Logs an error if another user took the port of a process that has died: clients may have reached that user in
    /// between.
    pub(super) fn ask_port_owner_after_death(&self, process: &WorkerProcess) {
        let (worker, allowed) = (self.name(), Allowed::of(&process.context.config));
        let (&Endpoint::Tcp(endpoint), None, true) =
            (&process.context.upstream.endpoint, &process.listener_dup, process.was_ready)
        else {
            return;
        };
        tokio::task::spawn_blocking(move || {
            let found = listener_at(endpoint).ok().flatten().filter(|owner| !allowed.includes(*owner));
            if let Some(owner) = found {
                tracing::error!(
                    %worker, %endpoint, uid = owner.uid,
                    "private port of a dead worker was taken by another user: clients may have connected to that user"
                );
            }
        });
    }
}

fn is_first(said: &AtomicBool) -> bool {
    !said.swap(true, Ordering::Relaxed)
}
