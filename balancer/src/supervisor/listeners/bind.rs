//! Binds the addresses that a Node application asks for, and finds the program that holds one.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::channel::node::listeners::Where;
use crate::config::Address;
use crate::net::listeners::Listener;
use crate::os::inspect;

/// Returns the address to bind, and true if IPv4 is left out.
pub(super) fn address_of(at: &Where) -> (Address, bool) {
    match at {
        Where::Tcp { address, v6_only, .. } => (Address::Tcp(*address), *v6_only),
        Where::Unix(path) => (Address::Unix(path.clone()), false),
    }
}

/// Binds that address. If the kernel supports IPv6 but no interface has it, binds the address that stands in for it.
///
/// # Errors
///
/// As [`Listener::bind`].
pub(super) fn bind(at: &Where, backlog: u32, keepalive: std::time::Duration) -> io::Result<Listener> {
    let (address, v6_only) = address_of(at);
    let bind = |address: &Address| Listener::bind(address, backlog, keepalive, v6_only).map_err(|error| error.source);
    match (bind(&address), at) {
        (Err(error), Where::Tcp { fallback: Some(fallback), .. })
            if error.kind() == io::ErrorKind::AddrNotAvailable =>
        {
            bind(&Address::Tcp(*fallback))
        }
        (bound, _) => bound,
    }
}

/// True while a thread searches `/proc` for the holder of an address that an application asked for.
static LOOKS: AtomicBool = AtomicBool::new(false);

/// Logs that an address could not be bound, and which process holds it: on a thread that may block on `/proc`, one at a
/// time.
pub(super) fn tell_failed(worker: String, address: Address, error: &io::Error) {
    let (is_taken, error) = (error.kind() == io::ErrorKind::AddrInUse, error.to_string());
    let may_look = is_taken && !LOOKS.swap(true, Ordering::SeqCst);
    tokio::task::spawn_blocking(move || {
        let holder = match &address {
            Address::Tcp(taken) if may_look => inspect::port_holder(*taken),
            _ => None,
        };
        if may_look {
            LOOKS.store(false, Ordering::SeqCst);
        }
        let held = holder.map(|holder| format!("; held by {} (pid {})", holder.name, holder.pid)).unwrap_or_default();
        tracing::error!(
            %worker, %address, error = %format_args!("{error}{held}"),
            "cannot listen on the address that the application asks for"
        );
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unavailable_ipv6_address_falls_back_to_ipv4() {
        let at = |fallback| Where::Tcp { address: "[2001:db8::1]:0".parse().unwrap(), v6_only: false, fallback };
        let error = bind(&at(None), 8, std::time::Duration::ZERO).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrNotAvailable);
        let bound = bind(&at(Some(([127, 0, 0, 1], 0).into())), 8, std::time::Duration::ZERO).unwrap();
        assert!(matches!(bound.address(), Address::Tcp(address) if address.is_ipv4()), "{}", bound.address());
    }
}
