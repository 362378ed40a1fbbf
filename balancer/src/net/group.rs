//! A reuseport group: one TCP listener a worker, all on the same address.
//!
//! Each listener, a *member*, has a queue of its own. A program in the kernel ([`crate::os::reuseport_bpf`]) gives new
//! connections to the eligible members alone. If the kernel takes no program, its hash spreads them over all members.
//! All members are made at once and kept for good: the connections in a member's queue are lost if its last holder
//! closes it.
//!
//! While the group is made, no second server can share the address unnoticed, not even one of the same user. Later one
//! can: `SO_REUSEPORT` admits every process of that user. As long as the program chooses, it gets no connections.

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
    /// The address at which a connection from this machine reaches a member.
    way_in: SocketAddr,
    /// By slot.
    members: Vec<Listener>,
    member_index: MemberIndex,
    /// The slots whose members are to get new connections.
    chosen: Vec<usize>,
}

/// The result of a look at a group.
#[derive(Debug, Default)]
pub struct Revived {
    /// The slots whose members listen again, and those whose do not, with the reason.
    pub members: Vec<(usize, io::Result<()>)>,
    /// The kernel's order of the members is not known any more. All of them get connections from now on.
    pub has_lost_order: bool,
}

impl Group {
    /// Makes a group of `count` members that listen on `address`. The other arguments are those of [`Listener::bind`].
    ///
    /// # Errors
    ///
    /// The address and the kernel's error; `Unsupported` for a unix path. No member listens then.
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
        // This first socket shares the address with no other listener, so an existing one is an error as for any
        // listener. It also finds the port if the address has port 0: each member is then bound to that port by number,
        // and keeps it even if a process shuts the member down.
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
        // No member gets a connection before all are bound alike. The order of these calls is the kernel's order of the
        // members.
        let members =
            bound.into_iter().map(|socket| Listener::of_tcp(socket, backlog)).collect::<io::Result<Vec<_>>>()?;
        let member_index = MemberIndex::of(members.len());
        Ok(Self { address: Address::Tcp(at), way_in: way_in(at, v6_only), members, member_index, chosen: Vec::new() })
    }

    /// Returns the address of all members; port 0 is replaced by the one that the kernel chose.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Returns the address at which a connection from this machine reaches one of them: loopback if the group's is a
    /// wildcard.
    pub fn way_in(&self) -> SocketAddr {
        self.way_in
    }

    /// Returns the member of a slot.
    pub fn member(&self, slot: usize) -> Option<&Listener> {
        self.members.get(slot)
    }

    /// Returns all members, in the order of their slots.
    pub fn members(&self) -> &[Listener] {
        &self.members
    }

    /// Returns true if a client waits at one of them.
    pub fn has_queue(&self) -> bool {
        self.members.iter().any(Listener::has_queue)
    }

    /// Lets only the members of these slots get new connections, each as many as the others; all members if `slots` is
    /// empty. Clients that wait in other members' queues stay there.
    ///
    /// # Errors
    ///
    /// If the kernel takes no such program. Then its hash spreads connections over all members.
    pub fn set_eligible(&mut self, slots: &[usize]) -> io::Result<()> {
        self.chosen = slots.to_vec();
        self.attach()
    }

    fn attach(&self) -> io::Result<()> {
        // A program that is attached to a member which does not listen would be that member's alone.
        let Some(member) = self.members.iter().find(|member| member.is_listening()) else { return Ok(()) };
        let attached = Program::among(&self.member_index.numbers(&self.chosen)).attach(member.as_fd());
        if attached.is_err() {
            // No program is better than an outdated one.
            reuseport_bpf::detach(member);
        }
        attached
    }

    /// Lets the members listen again that a process shut down. The clients in their queues are lost. The choice among
    /// the others stays.
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
        // A failure was reported when the eligible members were set.
        let _ = self.attach();
        Revived { members, has_lost_order: was_known && !self.member_index.is_known() }
    }
}

/// Returns the address to which a client on this machine would connect. An IPv6 wildcard that takes IPv4 too is reached
/// by IPv4: a machine without an IPv6 loopback address is not rare.
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
