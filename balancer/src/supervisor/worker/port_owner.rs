//! Checks the owner of a worker's private port before the worker counts as ready, and again while the owner may change.

use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::context::ProcessContext;
use super::listener_owner::{Allowed, Held, OwnerCheck, OwnerQuery, is_passing};
use crate::os::accept_queue::listener_at;
use crate::rotation::Endpoint;
use crate::supervisor::WorkerEvent;

/// The pause between two tries while the kernel has no descriptors or memory for the query, and the most tries.
const AGAIN: Duration = Duration::from_millis(200);
const TRIES: usize = 150;

/// The owner of the listener at one process's private port, as far as it is known.
#[derive(Debug, Default)]
pub(super) struct PortOwner {
    known: Known,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Known {
    #[default]
    Nothing,
    /// The check is under way.
    Asked,
    /// No other user's listener. Its inode, if there was a listener.
    Allowed(Option<u64>),
}

/// The meaning of a check for the process.
#[derive(Debug)]
pub(super) enum PortVerdict {
    /// The port may be used. With it comes a duplicate of its listener, if one was taken.
    Usable(Option<OwnedFd>),
    /// Another user listens there. The text is the reason why the process is ended.
    Taken(String),
    /// The owner is still not known.
    Unknown,
}

impl PortOwner {
    /// Returns true if a process that has just become ready must wait until the owner of its port is known, and starts
    /// the check.
    pub(super) fn delays_ready(&mut self, process: &ProcessContext) -> bool {
        match self.known {
            Known::Nothing => self.ask(process),
            Known::Asked => true,
            Known::Allowed(_) => false,
        }
    }

    /// Checks once more.
    pub(super) fn ask_again(&mut self, process: &ProcessContext) {
        if matches!(self.known, Known::Allowed(_)) {
            self.ask(process);
        }
    }

    /// Starts a check. Returns false if the process has no port of its own.
    fn ask(&mut self, process: &ProcessContext) -> bool {
        let (&Endpoint::Tcp(address), Some(group)) = (&process.upstream.endpoint, process.pid()) else { return false };
        let known = match self.known {
            Known::Allowed(known) => known,
            Known::Nothing | Known::Asked => None,
        };
        let (allowed, wants_duplicate) = (Allowed::of(&process.config), process.config.recover_queue);
        let question = OwnerQuery { address, group, allowed, known, wants_duplicate };
        let report = process.reporter();
        self.known = Known::Asked;
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

    /// Takes the result of a check.
    pub(super) fn seen(&mut self, process: &ProcessContext, look: OwnerCheck) -> PortVerdict {
        let Endpoint::Tcp(endpoint) = process.upstream.endpoint else { return PortVerdict::Unknown };
        let (worker, pid) = (process.name(), process.pid());
        let (pool, said) = (&process.shared.pool.name, &process.shared.logged_owners);
        let mut duplicate = None;
        match look {
            OwnerCheck::Nobody => self.known = Known::Allowed(None),
            OwnerCheck::Allowed(inode, held) => {
                self.known = Known::Allowed(Some(inode));
                match held {
                    Held::Duplicate(listener) => duplicate = Some(listener),
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
                self.known = Known::Nothing;
                return PortVerdict::Taken(stranger.told(endpoint));
            }
            // While descriptors are lacking the owner is not known, and the worker is not ready.
            OwnerCheck::Unknown(error) if is_passing(&error) => {
                self.known = Known::Nothing;
                return PortVerdict::Unknown;
            }
            OwnerCheck::Unknown(error) => {
                self.known = Known::Allowed(None);
                if is_first(&said.is_unknown) {
                    tracing::warn!(
                        pool, %error,
                        "cannot look up the owner of a private port (netlink sock_diag, /proc/net/tcp): port used unchecked"
                    );
                }
            }
        }
        PortVerdict::Usable(duplicate)
    }
}

/// Logs an error if another user took the port of a process that has died: clients may have reached that user in
/// between.
pub(super) fn ask_after_death(process: &ProcessContext) {
    let &Endpoint::Tcp(endpoint) = &process.upstream.endpoint else { return };
    let (worker, allowed) = (process.name(), Allowed::of(&process.config));
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

fn is_first(said: &AtomicBool) -> bool {
    !said.swap(true, Ordering::Relaxed)
}
