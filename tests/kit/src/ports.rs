//! Free ports.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU8, AtomicU16, Ordering};

/// A free TCP port on a loopback address that no other test uses, so that no other socket takes it between this call
/// and its bind.
#[track_caller]
pub fn free_address() -> SocketAddr {
    static NEXT: AtomicU8 = AtomicU8::new(64);
    let [.., high, low] = std::process::id().to_be_bytes();
    let host = Ipv4Addr::new(127, NEXT.fetch_add(1, Ordering::Relaxed), high, low.clamp(1, 254));
    SocketAddr::from((host, free_everywhere()))
}

/// A port that is free at every address, for a program that binds the wildcard. It lies below the range from which
/// the kernel picks a port for a bind to port 0: such a port is free at one address and another test's at the next.
#[track_caller]
pub fn free_everywhere() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let free = (0..8_000).find_map(|_| {
        let port = 10_000
            + (std::process::id() as u16).wrapping_mul(31).wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % 8_000;
        TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).is_ok().then_some(port)
    });
    free.unwrap()
}
