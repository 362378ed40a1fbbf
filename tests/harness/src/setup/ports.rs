//! Free ports of 127.0.0.1.
//!
//! They are below the ports that the kernel gives to outgoing connections: a connection of the generator could take one
//! of those between our check and the start of the listener, or while a master is away and should come back. Nothing
//! reserves the ports, so code that starts a process on one tries once more if the port was taken meanwhile
//! ([`trying_again`]).

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::ops::Range;

use super::SetupError;

/// The range: above the usual ports of servers, below those that the master chooses for workers (from 20000) and those
/// of Linux's outgoing connections (from 32768).
const RANGE: Range<u16> = 10_000..20_000;

/// Returns that many different ports on which no process listens now.
///
/// # Errors
///
/// [`SetupError::Failed`]: there are not enough.
pub(crate) fn free(count: usize) -> Result<Vec<u16>, SetupError> {
    // All are held until the last one is found: otherwise one could be found twice.
    let mut held: Vec<(u16, TcpListener)> = Vec::with_capacity(count);
    for _ in 0..1000 * count.max(1) {
        if held.len() == count {
            break;
        }
        let port = fastrand::u16(RANGE);
        if let Ok(listener) = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port))) {
            held.push((port, listener));
        }
    }
    if held.len() < count {
        return Err(SetupError::Failed(format!(
            "no {count} free ports of 127.0.0.1 from {} to {}",
            RANGE.start, RANGE.end
        )));
    }
    Ok(held.into_iter().map(|(port, _)| port).collect())
}

/// Returns one of them, as an address.
pub(crate) fn address() -> Result<SocketAddr, SetupError> {
    let port = free(1)?.into_iter().next().unwrap_or_default();
    Ok(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
}

/// Starts something, and once more if another process took its port meanwhile.
pub(crate) fn trying_again<T>(mut start: impl FnMut() -> Result<T, SetupError>) -> Result<T, SetupError> {
    match start() {
        Err(SetupError::Failed(text)) if was_taken(&text) => start(),
        other => other,
    }
}

/// Returns true if a failed start says that another process had its port.
fn was_taken(text: &str) -> bool {
    ["Address already in use", "Address in use", "EADDRINUSE"].iter().any(|words| text.contains(words))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn free_ports_are_all_different_and_nobodys() {
        let mut ports = free(50).unwrap();
        ports.sort_unstable();
        ports.dedup();
        assert_eq!(ports.len(), 50);
        assert!(ports.iter().all(|port| RANGE.contains(port)), "{ports:?}");
        let (taken, error) = (TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap(), TcpListener::bind);
        let error = error(taken.local_addr().unwrap()).unwrap_err().to_string();
        assert!(was_taken(&error), "{error}");
    }
}
