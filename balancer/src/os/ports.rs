//! Private TCP ports for workers.
//!
//! They lie *below* the ephemeral range: a connect to a dead port inside that range can be given the very port as its
//! source, and then TCP's simultaneous open connects it to itself and keeps the worker from binding.

use std::collections::BTreeSet;
use std::io;
use std::net::{Ipv4Addr, TcpListener};

/// How many ports below the ephemeral range are used.
const SPAN: u16 = 12_000;

/// Hands out loopback ports that nobody listens on, each once until it is given back.
#[derive(Debug)]
pub struct Ports {
    /// First and last.
    range: (u16, u16),
    taken: BTreeSet<u16>,
    chance: fastrand::Rng,
}

impl Ports {
    /// Ports below this machine's ephemeral range, in an order given by `seed`.
    pub fn new(seed: u64) -> Self {
        let text = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
        Self { range: below_ephemeral(&text), taken: BTreeSet::new(), chance: fastrand::Rng::with_seed(seed) }
    }

    /// A port on which 127.0.0.1 could be bound just now.
    ///
    /// # Errors
    ///
    /// None was free after as many tries as there are ports.
    pub fn take(&mut self) -> io::Result<u16> {
        let (first, last) = self.range;
        for _ in first..=last {
            let port = self.chance.u16(first..=last);
            if !self.taken.contains(&port) && is_free(port) {
                self.taken.insert(port);
                return Ok(port);
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
        // The whole range is ephemeral; then the top is as good as any.
        (53_000, 65_535)
    }
}

/// Whether the port could be bound by a worker that sets SO_REUSEADDR, as most runtimes do (std does).
fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_range_ends_below_the_ephemeral_ports() {
        assert_eq!(below_ephemeral("32768\t60999\n"), (20_768, 32_767));
        assert_eq!(below_ephemeral(""), (20_768, 32_767));
        assert_eq!(below_ephemeral("5000 6000"), (1_024, 4_999));
        assert_eq!(below_ephemeral("1024 65535"), (53_000, 65_535));
    }

    #[test]
    fn a_port_is_handed_out_once_and_never_one_that_is_bound() {
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
