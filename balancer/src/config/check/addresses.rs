//! Finds public addresses that exclude each other. Pure. The time grows with the length of the list, since a file
//! within its bound may have thousands.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

use crate::config::{Address, PoolConfig};

/// An address: the pool, and its index in the pool's list.
type Listed<'a> = (&'a PoolConfig, usize);

/// Addresses of which no two exclude each other.
#[derive(Default)]
pub(super) struct Taken<'a> {
    paths: HashMap<&'a Path, Listed<'a>>,
    /// Passed listeners, by their name.
    names: HashMap<&'a str, Listed<'a>>,
    ports: HashMap<u16, OfPort<'a>>,
}

/// The addresses with one port.
#[derive(Default)]
struct OfPort<'a> {
    each: HashMap<IpAddr, Listed<'a>>,
    first_v4: Option<Listed<'a>>,
    first_v6: Option<Listed<'a>>,
}

impl<'a> Taken<'a> {
    /// Adds an address. If another one excludes it, returns that one and adds nothing.
    pub(super) fn take(&mut self, (pool, i): Listed<'a>) -> Option<Listed<'a>> {
        match pool.listen.get(i)? {
            Address::Unix(path) => match self.paths.get(&**path) {
                Some(&other) => Some(other),
                None => self.paths.insert(path, (pool, i)),
            },
            Address::Passed(name) => match self.names.get(&**name) {
                Some(&other) => Some(other),
                None => self.names.insert(name, (pool, i)),
            },
            // The kernel gives each its own port.
            Address::Tcp(address) if address.port() == 0 => None,
            Address::Tcp(address) => self.ports.entry(address.port()).or_default().take(*address, (pool, i)),
        }
    }
}

impl<'a> OfPort<'a> {
    fn take(&mut self, address: SocketAddr, mine: Listed<'a>) -> Option<Listed<'a>> {
        const WILD: [IpAddr; 2] = [IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED)];
        let ip = address.ip().to_canonical();
        // An address that excludes this one is equal to it, or one of the two is a wildcard. Of the addresses in the
        // map at most one is an IPv4 wildcard, and then it is the only IPv4 address. The same holds for IPv6.
        let equal_or_wild = [ip, WILD[0], WILD[1]].map(|ip| self.each.get(&ip).copied());
        let any = if ip.is_unspecified() { [self.first_v4, self.first_v6] } else { [None; 2] };
        let excludes = |&(other, j): &Listed<'a>| {
            let is_same_pool = std::ptr::eq(other, mine.0);
            other.listen.get(j).is_some_and(|one| overlap(one, &Address::Tcp(address), is_same_pool))
        };
        if let Some(other) = equal_or_wild.into_iter().chain(any).flatten().find(excludes) {
            return Some(other);
        }
        self.each.insert(ip, mine);
        if ip.is_ipv4() { &mut self.first_v4 } else { &mut self.first_v6 }.get_or_insert(mine);
        None
    }
}

/// Returns true if Linux would refuse to listen on both. A pool's `[::]` leaves IPv4 to its own `0.0.0.0`.
pub(super) fn overlap(a: &Address, b: &Address, same_pool: bool) -> bool {
    match (a, b) {
        (Address::Unix(a), Address::Unix(b)) => a == b,
        (Address::Passed(a), Address::Passed(b)) => a == b,
        (Address::Tcp(a), Address::Tcp(b)) => tcp_overlap(*a, *b, same_pool),
        _ => false,
    }
}

fn tcp_overlap(a: SocketAddr, b: SocketAddr, same_pool: bool) -> bool {
    if a.port() != b.port() || a.port() == 0 {
        return false;
    }
    let (a, b) = (a.ip().to_canonical(), b.ip().to_canonical());
    let both_families = |wild: IpAddr, other: IpAddr| {
        let leaves_ipv4 = same_pool && other.is_ipv4() && other.is_unspecified();
        wild.is_ipv6() && wild.is_unspecified() && !leaves_ipv4
    };
    let wildcard = (a.is_unspecified() || b.is_unspecified()) && a.is_ipv4() == b.is_ipv4();
    a == b || wildcard || both_families(a, b) || both_families(b, a)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Program;

    /// For every list of up to four addresses of two pools, the index finds a clash exactly where comparing all pairs
    /// does.
    #[test]
    fn index_agrees_with_comparing_every_pair() {
        let texts =
            ["127.0.0.1:80", "0.0.0.0:80", "[::]:80", "[::1]:80", "[::ffff:127.0.0.1]:80", "127.0.0.1:0", "unix:/a"];
        let choices = texts.len() * 2;
        for code in 0..choices.pow(4) {
            let picked = (0..4u32).map(|digit| code / choices.pow(digit) % choices);
            let (mut a, mut b) = (PoolConfig::new("a", Program::Demo), PoolConfig::new("b", Program::Demo));
            (a.listen, b.listen) = (Vec::new(), Vec::new());
            for choice in picked {
                let pool = if choice % 2 == 0 { &mut a } else { &mut b };
                pool.listen.push(texts[choice / 2].parse().unwrap());
            }
            let listed = |pool: &'_ PoolConfig| (0..pool.listen.len()).collect::<Vec<_>>();
            let all: Vec<Listed<'_>> =
                [&a, &b].into_iter().flat_map(|pool| listed(pool).into_iter().map(move |i| (pool, i))).collect();
            let clash =
                |(x, i): Listed<'_>, (y, j): Listed<'_>| overlap(&x.listen[i], &y.listen[j], std::ptr::eq(x, y));
            let by_pairs = (0..all.len()).any(|at| all[..at].iter().any(|&other| clash(all[at], other)));
            let mut taken = Taken::default();
            let by_index = all.iter().any(|&one| taken.take(one).is_some());
            assert_eq!(by_index, by_pairs, "{:?} {:?}", a.listen, b.listen);
        }
    }
}
