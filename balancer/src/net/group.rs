//! A reuseport group: one TCP listener a worker, all on the same address.
//!
//! Each listener, a *member*, has a queue of its own. By a program in the kernel ([`crate::os::reuseport_bpf`]) only
//! those get new connections that are wanted; where the kernel takes none, all do by its hash. All members are made at
//! once and kept for good: what the kernel has put into a member's queue is lost if its last holder closes it.
//!
//! A second server cannot come to the address unseen while the group is made, not even one of the same user that would
//! share the port. Later such a one can: `SO_REUSEPORT` lets every process of the user in. While the program chooses,
//! it gets nothing.

mod member_index;

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::AsFd;
use std::time::Duration;

use socket2::{Domain, Socket, Type};

use super::listeners::{BindError, Listener, bind_tcp, prepare_tcp};
use crate::config::Address;
use crate::os::reuseport_bpf::{self, Program};
use member_index::MemberIndex;

/// The listeners of one public address, one a slot.
#[derive(Debug)]
pub struct Group {
    address: Address,
    /// Where a connection of our own gets to a member.
    way_in: SocketAddr,
    /// By slot.
    members: Vec<Listener>,
    member_index: MemberIndex,
    /// The slots that shall get new connections.
    chosen: Vec<usize>,
}

/// The result of a look at a group.
#[derive(Debug, Default)]
pub struct Revived {
    /// The slots whose members listen again, and those whose do not, with the reason.
    pub members: Vec<(usize, io::Result<()>)>,
    /// The order in which the kernel has the members is not known any more: all of them get connections from now on.
    pub has_lost_order: bool,
}

impl Group {
    /// A group of `count` members that listen on `address`; the rest as for [`Listener::bind`].
    ///
    /// # Errors
    ///
    /// The address and what the kernel said; `Unsupported` for a unix path. Nobody listens then.
    pub fn bind(
        address: &Address,
        count: usize,
        backlog: u32,
        keepalive: Duration,
        v6_only: bool,
    ) -> Result<Self, BindError> {
        let failed = |source| BindError { address: address.clone(), source };
        let Address::Tcp(at) = address else { return Err(failed(io::ErrorKind::Unsupported.into())) };
        Self::bind_tcp(*at, count, i32::try_from(backlog).unwrap_or(i32::MAX), keepalive, v6_only).map_err(failed)
    }

    fn bind_tcp(at: SocketAddr, count: usize, backlog: i32, keepalive: Duration, v6_only: bool) -> io::Result<Self> {
        // It shares the address with no other listener: an existing one is an error here as for any listener. And
        // it finds the port where any will do, so that each member is bound to a port by name, which it keeps even if
        // somebody shuts it down.
        let pilot = bind_tcp(at, keepalive, v6_only)?;
        let at = pilot.local_addr()?.as_socket().ok_or(io::ErrorKind::AddrNotAvailable)?;
        let member = || {
            let socket = Socket::new(Domain::for_address(at), Type::STREAM.nonblocking(), None)?;
            prepare_tcp(&socket, at, keepalive, v6_only)?;
            socket.set_reuse_port(true)?;
            socket.bind(&at.into())?;
            Ok(socket)
        };
        let bound = (0..count.max(1)).map(|_| member()).collect::<io::Result<Vec<Socket>>>()?;
        drop(pilot);
        // None gets a connection before all are bound alike; the order of this is the kernel's order of them.
        let members =
            bound.into_iter().map(|socket| Listener::of_tcp(socket, backlog)).collect::<io::Result<Vec<_>>>()?;
        let member_index = MemberIndex::of(members.len());
        Ok(Self { address: Address::Tcp(at), way_in: way_in(at, v6_only), members, member_index, chosen: Vec::new() })
    }

    /// Where all of them listen; port 0 is replaced by the one the kernel chose.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Where a connection from this machine gets to one of them: the address, or loopback where it is a wildcard.
    pub fn way_in(&self) -> SocketAddr {
        self.way_in
    }

    /// The member of a slot.
    pub fn member(&self, slot: usize) -> Option<&Listener> {
        self.members.get(slot)
    }

    /// All of them, in the order of their slots.
    pub fn members(&self) -> &[Listener] {
        &self.members
    }

    /// True if a client waits at one of them.
    pub fn has_queue(&self) -> bool {
        self.members.iter().any(Listener::has_queue)
    }

    /// From now on only the members of these slots get new connections, each as many as the others; if there are none,
    /// all do. What waits in other members' queues stays there.
    ///
    /// # Errors
    ///
    /// The kernel takes no such program: then its hash spreads connections over all members.
    pub fn set_eligible(&mut self, slots: &[usize]) -> io::Result<()> {
        self.chosen = slots.to_vec();
        self.attach()
    }

    fn attach(&self) -> io::Result<()> {
        // A program on one that does not listen would be that one's own.
        let Some(member) = self.members.iter().find(|member| member.is_listening()) else { return Ok(()) };
        let attached = Program::among(&self.member_index.numbers(&self.chosen)).attach(member.as_fd());
        if attached.is_err() {
            // Better no choice than that of another moment.
            reuseport_bpf::detach(member);
        }
        attached
    }

    /// Lets those members listen again that somebody shut down; what waited in their queues is lost. The others are
    /// chosen as before.
    pub fn revive(&mut self, backlog: u32) -> Revived {
        let silent: Vec<_> = (0..self.members.len()).filter(|&slot| !self.members[slot].is_listening()).collect();
        if silent.is_empty() {
            return Revived::default();
        }
        let was_known = self.member_index.is_known();
        self.member_index.lost(&silent);
        let revive = |slot: usize| {
            let revived = self.members[slot].revive(backlog).map(drop);
            if revived.is_ok() {
                self.member_index.joined(slot);
            }
            (slot, revived)
        };
        let members = silent.into_iter().map(revive).collect();
        // Whether it can be has been told when the eligible members were set.
        let _ = self.attach();
        Revived { members, has_lost_order: was_known && !self.member_index.is_known() }
    }
}

/// Where a client on this machine would connect to. An IPv6 wildcard that takes IPv4 too is reached by that: a machine
/// without a loopback address in IPv6 is not rare.
fn way_in(bound: SocketAddr, v6_only: bool) -> SocketAddr {
    let ip = match bound.ip() {
        IpAddr::V6(ip) if ip.is_unspecified() && v6_only => Ipv6Addr::LOCALHOST.into(),
        ip if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        _ => return bound,
    };
    SocketAddr::new(ip, bound.port())
}

#[cfg(test)]
mod tests;
