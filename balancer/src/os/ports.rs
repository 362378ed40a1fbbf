//! Private TCP ports for workers.
//!
//! They lie *below* the ephemeral range. A connect to a dead port inside that range can be given the very same port as
//! its source; then TCP's simultaneous open connects it to itself and keeps the worker from binding. Ports that belong
//! to other services by convention are avoided as long as others are free: those that the machine's owner has reserved
//! (`ip_local_reserved_ports`), those of Kubernetes (NodePort), and those that /etc/services names.

use std::collections::BTreeSet;
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::ops::RangeInclusive;

/// The number of ports below the ephemeral range that are used.
const SPAN: u16 = 12_000;
/// NodePort services of Kubernetes.
const NODE_PORTS: RangeInclusive<u16> = 30_000..=32_767;

/// Hands out loopback ports without a listener, each once until it is given back.
#[derive(Debug)]
pub struct Ports {
    /// First and last.
    range: (u16, u16),
    /// Used only where no other is free.
    avoided: BTreeSet<u16>,
    taken: BTreeSet<u16>,
    chance: fastrand::Rng,
}

impl Ports {
    /// Ports below this machine's ephemeral range, in an order given by `seed`.
    pub fn new(seed: u64) -> Self {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let range = below_ephemeral(&read("/proc/sys/net/ipv4/ip_local_port_range"));
        let reserved = reserved(&read("/proc/sys/net/ipv4/ip_local_reserved_ports"));
        let known = read("/etc/services");
        let is_in_range = |port: &u16| (range.0..=range.1).contains(port);
        let avoided =
            reserved.into_iter().chain([NODE_PORTS]).flatten().chain(services(&known)).filter(is_in_range).collect();
        Self { range, avoided, taken: BTreeSet::new(), chance: fastrand::Rng::with_seed(seed) }
    }

    /// A port on which 127.0.0.1 could be bound just now.
    ///
    /// # Errors
    ///
    /// No port was free after as many tries as there are ports.
    pub fn take(&mut self) -> io::Result<u16> {
        let (first, last) = self.range;
        for may_be_avoided in [false, true] {
            for _ in first..=last {
                let port = self.chance.u16(first..=last);
                let is_meant = may_be_avoided || !self.avoided.contains(&port);
                if is_meant && !self.taken.contains(&port) && is_free(port) {
                    self.taken.insert(port);
                    return Ok(port);
                }
            }
        }
        let text = format!("no free port between {first} and {last} on 127.0.0.1");
        Err(io::Error::new(io::ErrorKind::AddrInUse, text))
    }

    /// Gives a port back after its worker ended.
    pub fn give_back(&mut self, port: u16) {
        self.taken.remove(&port);
    }
}

/// The usable range, from the text of `ip_local_port_range`.
fn below_ephemeral(text: &str) -> (u16, u16) {
    let first_ephemeral: u16 = text.split_whitespace().next().and_then(|low| low.parse().ok()).unwrap_or(32_768);
    if first_ephemeral > 2_048 {
        (first_ephemeral.saturating_sub(SPAN).max(1_024), first_ephemeral - 1)
    } else {
        // The whole range is ephemeral: then its top is as good as any other part.
        (53_000, 65_535)
    }
}

/// The ranges of `ip_local_reserved_ports`, such as `8080,9148-9150`.
fn reserved(text: &str) -> Vec<RangeInclusive<u16>> {
    let ranges = text.split([',', '\n', ' ']).filter_map(|range| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        Some(first.trim().parse().ok()?..=last.trim().parse().ok()?)
    });
    ranges.collect()
}

/// The TCP ports that /etc/services names.
fn services(text: &str) -> impl Iterator<Item = u16> {
    text.lines().filter_map(|line| {
        let line = line.split('#').next()?;
        line.split_whitespace().nth(1)?.strip_suffix("/tcp")?.parse().ok()
    })
}

/// Returns true if a worker that sets SO_REUSEADDR, as most runtimes do (std does), could bind the port.
fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

/// Reads any text as the kernel's port ranges and as `/etc/services`.
#[cfg(feature = "fuzzing")]
pub fn fuzz(text: &str) {
    let (first, last) = below_ephemeral(text);
    assert!(first <= last, "{first} to {last}");
    let _ = (reserved(text), services(text).count());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn range_ends_below_the_ephemeral_ports() {
        assert_eq!(below_ephemeral("32768\t60999\n"), (20_768, 32_767));
        assert_eq!(below_ephemeral(""), (20_768, 32_767));
        assert_eq!(below_ephemeral("5000 6000"), (1_024, 4_999));
        assert_eq!(below_ephemeral("1024 65535"), (53_000, 65_535));
    }

    #[test]
    fn reserved_ports_and_services_are_read() {
        assert_eq!(reserved("8080,9148-9150\n"), [8080..=8080, 9148..=9150]);
        assert!(reserved("\n").is_empty() && reserved("-,70000,x-3").is_empty());
        let text = "# comment 1/tcp\nssh\t\t22/tcp\t# Secure\nntp 123/udp\nbinkp 24554/tcp binkd\nodd\nbad x/tcp\n";
        assert_eq!(services(text).collect::<Vec<_>>(), [22, 24554]);
    }

    #[test]
    fn avoided_port_is_used_only_where_no_other_is_free() {
        let mut ports = Ports::new(7);
        let is_used = |port: &u16| (ports.range.0..=ports.range.1).contains(port) && !ports.avoided.contains(port);
        assert!(!NODE_PORTS.clone().any(|port| is_used(&port)));
        let (first, last) = ports.range;
        ports.avoided = (first..first + (last - first) / 2).collect();
        let taken: Vec<_> = (0..50).map(|_| ports.take().unwrap()).collect();
        assert!(taken.iter().all(|port| !ports.avoided.contains(port)), "{taken:?}");
        ports.give_back(taken[0]);
        (ports.range, ports.avoided) = ((taken[0], taken[0]), BTreeSet::from([taken[0]]));
        assert_eq!(ports.take().unwrap(), taken[0], "there is no other");
    }

    #[test]
    fn port_is_handed_out_once_and_never_if_bound() {
        let mut ports = Ports::new(7);
        let port = ports.take().unwrap();
        ports.give_back(port);
        let bound = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
        ports.range = (port, port);
        assert!(ports.take().is_err());
        drop(bound);
        assert_eq!(ports.take().unwrap(), port);
        assert!(ports.take().is_err(), "taken twice");
    }
}
