//! The header of the PROXY protocol, which tells a worker the client's address before the client's own bytes. Pure.
//!
//! Exact bytes of both versions of the [specification](https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt),
//! without extensions (TLVs). A client on a unix socket has no address, so its header names none.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use crate::config::ProxyProtocol;

/// The first bytes of version 2.
const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// Version 2 in the upper half, the command in the lower one.
const LOCAL: u8 = 0x20;
const PROXY: u8 = 0x21;
/// Address family in the upper half, stream in the lower one.
const UNSPECIFIED: u8 = 0x00;
const TCP4: u8 = 0x11;
const TCP6: u8 = 0x21;

/// Returns the header for a client that came from `peer` and reached our address `local`. It is empty if the version is
/// off.
///
/// The IPv4-mapped addresses of a dual-stack listener are written as IPv4 addresses.
pub(crate) fn of_client(version: ProxyProtocol, peer: Option<SocketAddr>, local: Option<SocketAddr>) -> Vec<u8> {
    let route = peer.zip(local).map(|(peer, local)| Route::new(peer, local));
    match version {
        ProxyProtocol::Off => Vec::new(),
        ProxyProtocol::V1 => text(route),
        ProxyProtocol::V2 => binary(PROXY, route),
    }
}

/// Returns the header for a connection of our own, such as a health check. It names no address.
pub(crate) fn of_probe(version: ProxyProtocol) -> Vec<u8> {
    match version {
        ProxyProtocol::Off => Vec::new(),
        // Version 1 has no other word for it.
        ProxyProtocol::V1 => text(None),
        ProxyProtocol::V2 => binary(LOCAL, None),
    }
}

/// Two addresses of one family, which is all that a header can say.
#[derive(Clone, Copy, Debug)]
struct Route {
    source: SocketAddr,
    destination: SocketAddr,
}

impl Route {
    fn new(source: SocketAddr, destination: SocketAddr) -> Self {
        let [from, to] = [source, destination].map(|address| address.ip().to_canonical());
        let [from, to] = if from.is_ipv4() == to.is_ipv4() { [from, to] } else { [from, to].map(as_ipv6) };
        Self { source: SocketAddr::new(from, source.port()), destination: SocketAddr::new(to, destination.port()) }
    }
}

fn as_ipv6(ip: IpAddr) -> IpAddr {
    let ip: Ipv6Addr = match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    };
    ip.into()
}

fn text(route: Option<Route>) -> Vec<u8> {
    let Some(Route { source, destination }) = route else { return b"PROXY UNKNOWN\r\n".to_vec() };
    let family = if source.is_ipv4() { "TCP4" } else { "TCP6" };
    let (from, to, from_port, to_port) = (source.ip(), destination.ip(), source.port(), destination.port());
    format!("PROXY {family} {from} {to} {from_port} {to_port}\r\n").into_bytes()
}

fn binary(command: u8, route: Option<Route>) -> Vec<u8> {
    let (family, length) = match route {
        None => (UNSPECIFIED, 0_u16),
        Some(route) if route.source.is_ipv4() => (TCP4, 2 * (4 + 2)),
        Some(_) => (TCP6, 2 * (16 + 2)),
    };
    let mut header = Vec::with_capacity(SIGNATURE.len() + 4 + usize::from(length));
    header.extend(SIGNATURE);
    header.extend([command, family]);
    header.extend(length.to_be_bytes());
    if let Some(Route { source, destination }) = route {
        for ip in [source.ip(), destination.ip()] {
            match ip {
                IpAddr::V4(ip) => header.extend(ip.octets()),
                IpAddr::V6(ip) => header.extend(ip.octets()),
            }
        }
        header.extend(source.port().to_be_bytes());
        header.extend(destination.port().to_be_bytes());
    }
    header
}

#[cfg(test)]
mod tests {
    use super::*;
    use ppp::{HeaderResult, v1, v2};
    use proptest::prelude::*;
    use std::net::Ipv4Addr;

    const VERSIONS: [ProxyProtocol; 2] = [ProxyProtocol::V1, ProxyProtocol::V2];

    fn address(text: &str) -> Option<SocketAddr> {
        Some(text.parse().unwrap())
    }

    /// Returns the result of another parser, and the number of bytes that it took for the header.
    fn read(bytes: &[u8]) -> (Option<(SocketAddr, SocketAddr)>, bool, usize) {
        match HeaderResult::parse(bytes) {
            HeaderResult::V1(header) => {
                let header = header.unwrap();
                let addresses = match header.addresses {
                    v1::Addresses::Unknown => None,
                    v1::Addresses::Tcp4(ip) => Some((
                        (ip.source_address, ip.source_port).into(),
                        (ip.destination_address, ip.destination_port).into(),
                    )),
                    v1::Addresses::Tcp6(ip) => Some((
                        (ip.source_address, ip.source_port).into(),
                        (ip.destination_address, ip.destination_port).into(),
                    )),
                };
                (addresses, false, header.header.len())
            }
            HeaderResult::V2(header) => {
                let header = header.unwrap();
                assert!(header.tlv_bytes().is_empty());
                let addresses = match header.addresses {
                    v2::Addresses::Unspecified => None,
                    v2::Addresses::IPv4(ip) => Some((
                        (ip.source_address, ip.source_port).into(),
                        (ip.destination_address, ip.destination_port).into(),
                    )),
                    v2::Addresses::IPv6(ip) => Some((
                        (ip.source_address, ip.source_port).into(),
                        (ip.destination_address, ip.destination_port).into(),
                    )),
                    v2::Addresses::Unix(unix) => panic!("{unix:?}"),
                };
                let is_stream = header.protocol == v2::Protocol::Stream;
                assert_eq!(is_stream, addresses.is_some());
                (addresses, header.command == v2::Command::Local, header.len())
            }
        }
    }

    #[test]
    fn text_form_matches_specification() {
        let v1 = |peer, local| String::from_utf8(of_client(ProxyProtocol::V1, peer, local)).unwrap();
        let (client, public) = (address("192.168.0.1:56324"), address("192.168.0.11:443"));
        assert_eq!(v1(client, public), "PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\n");
        assert_eq!(v1(address("[2001:db8::1]:1"), address("[::1]:65535")), "PROXY TCP6 2001:db8::1 ::1 1 65535\r\n");
        assert_eq!(v1(None, public), "PROXY UNKNOWN\r\n");
        assert_eq!(v1(client, None), "PROXY UNKNOWN\r\n");
        assert_eq!(of_probe(ProxyProtocol::V1), b"PROXY UNKNOWN\r\n");
    }

    #[test]
    fn binary_form_matches_specification() {
        let signature = *b"\x0D\x0A\x0D\x0A\x00\x0D\x0A\x51\x55\x49\x54\x0A";
        let v2 = |peer, local| of_client(ProxyProtocol::V2, peer, local);
        let with = |rest: &[u8]| [&signature[..], rest].concat();
        assert_eq!(
            v2(address("192.168.0.1:56324"), address("192.168.0.11:443")),
            with(&[0x21, 0x11, 0, 12, 192, 168, 0, 1, 192, 168, 0, 11, 220, 4, 1, 187])
        );
        let mut six = vec![0x21, 0x21, 0, 36, 0x20, 0x01, 0x0d, 0xb8];
        six.extend([0; 11]);
        six.push(1);
        six.extend([0; 15]);
        six.extend([1, 0, 1, 255, 255]);
        assert_eq!(v2(address("[2001:db8::1]:1"), address("[::1]:65535")), with(&six));
        assert_eq!(v2(None, None), with(&[0x21, 0, 0, 0]));
        assert_eq!(of_probe(ProxyProtocol::V2), with(&[0x20, 0, 0, 0]));
    }

    #[test]
    fn off_is_nothing_at_all() {
        let (client, public) = (address("192.168.0.1:56324"), address("192.168.0.11:443"));
        assert!(of_client(ProxyProtocol::Off, client, public).is_empty());
        assert!(of_probe(ProxyProtocol::Off).is_empty());
    }

    #[test]
    fn ipv4_on_a_dual_stack_listener_is_ipv4() {
        for version in VERSIONS {
            let mapped = of_client(version, address("[::ffff:10.0.0.1]:5"), address("[::ffff:10.0.0.2]:6"));
            assert_eq!(mapped, of_client(version, address("10.0.0.1:5"), address("10.0.0.2:6")));
            // No socket has two such ends; the header says one family all the same.
            let mixed = read(&of_client(version, address("10.0.0.1:5"), address("[2001:db8::1]:6")));
            assert_eq!(mixed.0, address("[::ffff:10.0.0.1]:5").zip(address("[2001:db8::1]:6")));
        }
    }

    #[test]
    fn probe_has_no_client_addresses() {
        assert_eq!(read(&of_probe(ProxyProtocol::V1)), (None, false, 15));
        assert_eq!(read(&of_probe(ProxyProtocol::V2)), (None, true, 16));
    }

    fn any_address() -> impl Strategy<Value = SocketAddr> {
        let ip = prop_oneof![
            any::<Ipv4Addr>().prop_map(IpAddr::V4),
            any::<Ipv6Addr>().prop_map(IpAddr::V6),
            any::<Ipv4Addr>().prop_map(|ip| IpAddr::V6(ip.to_ipv6_mapped())),
        ];
        (ip, any::<u16>()).prop_map(SocketAddr::from)
    }

    proptest! {
        #[test]
        fn another_parser_reads_back_what_was_written(
            peer in proptest::option::of(any_address()),
            local in proptest::option::of(any_address()),
            payload in proptest::collection::vec(any::<u8>(), 0..40),
        ) {
            for version in VERSIONS {
                let header = of_client(version, peer, local);
                let (addresses, is_local, length) = read(&[&header[..], &payload].concat());
                prop_assert_eq!(length, header.len(), "the header ends where it says");
                prop_assert!(header.len() <= 107, "the most that version 1 may have");
                prop_assert!(!is_local);
                let canonical = |(from, to): (SocketAddr, SocketAddr)| {
                    [from, to].map(|one| (one.ip().to_canonical(), one.port()))
                };
                prop_assert_eq!(addresses.map(canonical), peer.zip(local).map(canonical));
                let is_one_family = addresses.is_none_or(|(from, to)| from.is_ipv4() == to.is_ipv4());
                prop_assert!(is_one_family);
            }
        }
    }
}
