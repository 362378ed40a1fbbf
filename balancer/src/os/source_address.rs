//! The source address of a connection that is not made yet.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::os::fd::AsFd;

use nix::sys::socket::{setsockopt, sockopt};

/// Binds a TCP socket that is about to connect to an address, and leaves the port to `connect`.
///
/// A port that `bind` chooses is taken for every destination. One that `connect` chooses need only be free to that one
/// (`IP_BIND_ADDRESS_NO_PORT`, Linux 4.2).
///
/// # Errors
///
/// The kernel lacks the option or refuses the address.
pub fn bind_source(socket: impl AsFd, source: Ipv4Addr) -> io::Result<()> {
    setsockopt(&socket, sockopt::IpBindAddressNoPort, &true)?;
    Ok(rustix::net::bind(socket, &SocketAddr::V4(SocketAddrV4::new(source, 0)))?)
}

/// Returns true if `connect` failed because every source port to that destination is in use.
pub fn is_used_up(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::AddrNotAvailable
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use socket2::{Domain, Socket, Type};

    use super::*;

    #[test]
    fn connection_begins_at_the_bound_address() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let source = Ipv4Addr::new(127, 0, 0, 7);
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        bind_source(&socket, source).unwrap();
        assert_eq!(socket.local_addr().unwrap().as_socket().map(|address| address.port()), Some(0), "no port yet");
        socket.connect(&listener.local_addr().unwrap().into()).unwrap();
        assert_eq!(listener.accept().unwrap().1.ip(), source);
    }
}
