//! Connections of ours that a worker died without accepting, and how each of them finds its worker's end again.
//!
//! When a worker has died, another holder of its listener can accept the connections in its queue. Each socket found so
//! is the *worker's end* of a connection that we made. It holds every byte that was sent on it, and no process has read
//! one. The connection that has the *near end* takes the worker's end, reads the bytes back and begins again with
//! another worker. It stays the same connection for its client, its permit and its counters.
//!
//! A worker's end is matched with its near end as follows.
//!
//! - TCP: the peer address of the worker's end is the near end's own address. That is exact.
//! - Unix: sockets have no names. So each near end that may be meant is asked first to pass nothing on to its client
//!   ([`RecoveryBarrier`]). When all have been asked, a tag goes into every worker's end: a number behind a secret of
//!   this recovery. The tag comes out of one near end, which then knows its own. That is exact too, and costs nothing
//!   as long as no worker dies.
//!
//! Only a connection that has sent something, got nothing and finds its socket silent takes part. The worker is dead,
//! so the kernel has closed what it had accepted, and such a socket is not silent. A socket that a process outside of
//! the worker's group still holds open is silent, too. No worker's end turns up for it, so it goes on as without a
//! recovery (on a unix socket a second later).
//!
//! A worker's end that no connection claims is closed. If its peer is another process, which knew the worker's path, it
//! is never written to.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::net::sockopt::socket_peercred;
use socket2::SockRef;

use crate::net::stream::Stream;

/// The length of a tag: the secret and the number.
pub(crate) const TAG: usize = 24;

/// The worker's ends from one dead worker's queue.
#[derive(Debug)]
pub(crate) struct Recovery {
    far: Mutex<Far>,
    secret: [u8; 16],
    is_tagged: AtomicBool,
}

#[derive(Debug, Default)]
struct Far {
    /// TCP sockets by the near end's address.
    named: HashMap<SocketAddr, OwnedFd>,
    /// Unix sockets by the number in their tags.
    tagged: HashMap<u64, OwnedFd>,
}

/// The result of a recovery for a near end.
#[derive(Debug)]
pub(crate) enum Found {
    /// Its worker's end.
    Far(OwnedFd),
    /// A tag will tell, if the connection has a worker's end.
    Wait,
    /// It has no worker's end here.
    Nothing,
}

impl Recovery {
    /// Makes a recovery of sockets that were accepted from the worker's listener.
    pub(crate) fn new(sockets: Vec<OwnedFd>) -> Self {
        let mut far = Far::default();
        for (number, socket) in (0..).zip(sockets) {
            // A socket that fails here has lost its peer.
            let _ = far.add(number, socket);
        }
        Self { far: Mutex::new(far), secret: secret(), is_tagged: AtomicBool::new(false) }
    }

    /// Finds the worker's end of a near end.
    pub(crate) fn find(&self, near: &Stream) -> Found {
        let mut far = self.far.lock().unwrap_or_else(PoisonError::into_inner);
        match near {
            Stream::Unix(_) if far.tagged.is_empty() => Found::Nothing,
            Stream::Unix(_) => Found::Wait,
            Stream::Tcp(tcp) => {
                let own = tcp.local_addr().ok().map(canonical);
                own.and_then(|own| far.named.remove(&own)).map_or(Found::Nothing, Found::Far)
            }
        }
    }

    /// Finds the worker's end whose tag was read; `None` if `said` is no tag of ours.
    pub(crate) fn find_tagged(&self, said: &[u8]) -> Option<OwnedFd> {
        let number = said.strip_prefix(&self.secret)?.try_into().ok().map(u64::from_le_bytes)?;
        let mut far = self.far.lock().unwrap_or_else(PoisonError::into_inner);
        far.tagged.remove(&number)
    }

    /// Returns true if every tag has been sent: a socket without a tag then will not get one.
    pub(crate) fn is_tagged(&self) -> bool {
        self.is_tagged.load(Ordering::SeqCst)
    }

    fn tag(&self) {
        let mut far = self.far.lock().unwrap_or_else(PoisonError::into_inner);
        // No process has written to the socket, so its buffer is empty and takes the tag. A socket without a peer is
        // dropped.
        far.tagged.retain(|number, socket| {
            let tag = [&self.secret[..], &number.to_le_bytes()].concat();
            SockRef::from(&*socket).send_with_flags(&tag, libc::MSG_NOSIGNAL).is_ok_and(|n| n == TAG)
        });
        self.is_tagged.store(true, Ordering::SeqCst);
    }
}

impl Far {
    fn add(&mut self, number: u64, socket: OwnedFd) -> io::Result<()> {
        SockRef::from(&socket).set_nonblocking(true)?;
        match SockRef::from(&socket).peer_addr()?.as_socket() {
            Some(peer) => drop(self.named.insert(canonical(peer), socket)),
            None if is_ours(&socket) => drop(self.tagged.insert(number, socket)),
            None => {}
        }
        Ok(())
    }
}

/// Asks the connections of a dead worker to look for their worker's ends. Each connection holds the barrier until it
/// has stopped passing bytes on. When the last one drops it, the tags are sent.
#[derive(Debug)]
pub(crate) struct RecoveryBarrier(Arc<Recovery>);

impl RecoveryBarrier {
    pub(crate) fn new(recovery: Recovery) -> Arc<Self> {
        Arc::new(Self(Arc::new(recovery)))
    }

    pub(crate) fn recovery(&self) -> &Arc<Recovery> {
        &self.0
    }
}

impl Drop for RecoveryBarrier {
    fn drop(&mut self) {
        self.0.tag();
    }
}

/// Returns the address without the IPv6 form of an IPv4 one, which a dual-stack worker sees.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// Returns true if this process connected the socket.
fn is_ours(far: &OwnedFd) -> bool {
    socket_peercred(far).is_ok_and(|peer| peer.pid == rustix::process::getpid())
}

/// Returns a secret that a holder of another socket of the dead worker cannot guess: keys of the standard library's,
/// from the kernel.
fn secret() -> [u8; 16] {
    let [a, b] = [(); 2].map(|()| RandomState::new().build_hasher().finish().to_le_bytes());
    let mut secret = [0; 16];
    secret[..8].copy_from_slice(&a);
    secret[8..].copy_from_slice(&b);
    secret
}
