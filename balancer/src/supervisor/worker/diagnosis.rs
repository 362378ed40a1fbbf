//! Explains a worker's listeners to its operator: "your program listens on 0.0.0.0:3000, not on $PORT". Pure.

use std::net::SocketAddr;

use crate::config::{Address, PassedAs};
use crate::rotation::Endpoint;

/// Returns a reason why a worker is not ready: it listens, but on another address than it was told. `public` are the
/// pool's addresses: a worker that was handed those listeners has not opened them. `is_refused` is true if its own
/// address refuses connections.
pub(in crate::supervisor) fn explain_not_ready(
    endpoint: &Endpoint,
    passed_as: PassedAs,
    listens: &[SocketAddr],
    public: &[Address],
    is_refused: bool,
) -> Option<String> {
    let is_handed = |address: &SocketAddr| *endpoint == Endpoint::Inherited && public.contains(&Address::Tcp(*address));
    let first = listens.iter().find(|address| !is_handed(address))?;
    if passed_as == PassedAs::Node {
        return Some(format!(
            "your application listens on {first} by itself, past Node's cluster, as a listener does that is `exclusive` or \
             has `reusePort`, or that is in a worker thread or in a process that it starts: let it listen without those, or \
             use mode = \"proxy\", where it listens on $PORT"
        ));
    }
    let wanted = match endpoint {
        Endpoint::Tcp(wanted) => wanted,
        Endpoint::Unix(path) | Endpoint::UnixOf(path, _) => {
            let path = path.display();
            return Some(format!(
                "your program listens on {first}, not on the path in $PORT ({path}): it must take a path there, or the \
                 pool needs endpoint = \"port\""
            ));
        }
        Endpoint::Channel => {
            return Some(format!(
                "your program listens on {first} by itself, but in this mode it is handed its connections: it must be made \
                 with worker-runtime or be started as `node FILE`, or the pool needs mode = \"proxy\""
            ));
        }
        Endpoint::Inherited => {
            return Some(format!(
                "your program listens on {first} by itself, but in this mode it is handed its listener: it must accept \
                 on descriptor 3 (LISTEN_FDS), or the pool needs mode = \"proxy\""
            ));
        }
    };
    let port = wanted.port();
    if let Some(near) = listens.iter().find(|address| address.port() == port) {
        let reaches = near.ip() == wanted.ip() || near.ip().is_unspecified();
        let has_same_family = listens.iter().any(|one| one.port() == port && one.is_ipv4() == wanted.is_ipv4());
        if is_refused && near.ip().is_unspecified() && !has_same_family {
            return Some(format!(
                "your program listens on {near} for one family only (ipv6Only, IPV6_V6ONLY), and {wanted} is refused: let \
                 it bind $HOST ({}), or both families",
                wanted.ip()
            ));
        }
        return (!reaches).then(|| {
            format!(
                "your program listens on {near}, not on {wanted}: let it bind $HOST (127.0.0.1), or no address at all"
            )
        });
    }
    Some(format!(
        "your program listens on {first}, not on $PORT ({port}): let it take its port from the environment variable \
         PORT, or write {{port}} where its arguments name one"
    ))
}

/// Returns a warning if a private port can be reached from other machines, past the master.
pub(in crate::supervisor) fn explain_exposed(endpoint: &Endpoint, listens: &[SocketAddr]) -> Option<String> {
    let Endpoint::Tcp(wanted) = endpoint else { return None };
    let exposed = |address: &&SocketAddr| address.port() == wanted.port() && !address.ip().to_canonical().is_loopback();
    let address = listens.iter().find(exposed)?;
    Some(format!(
        "its private port listens on {address}: other machines can reach it past the balancer; let it bind $HOST"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(texts: &[&str]) -> Vec<SocketAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn endpoint() -> Endpoint {
        Endpoint::Tcp(addresses(&["127.0.0.1:20001"])[0])
    }

    #[test]
    fn program_on_another_port_or_address_is_diagnosed() {
        let told = |texts: &[&str]| explain_not_ready(&endpoint(), PassedAs::Nothing, &addresses(texts), &[], false);
        let other = told(&["0.0.0.0:3000"]).unwrap();
        assert!(other.contains("0.0.0.0:3000, not on $PORT (20001)"), "{other}");
        let v6 = told(&["[::1]:20001"]).unwrap();
        assert!(v6.contains("[::1]:20001, not on 127.0.0.1:20001"), "{v6}");
        for fine in [&[][..], &["127.0.0.1:20001"], &["[::]:20001"], &["0.0.0.0:9229", "0.0.0.0:20001"]] {
            assert_eq!(told(fine), None, "{fine:?}");
        }
        let refused = |texts: &[&str]| explain_not_ready(&endpoint(), PassedAs::Nothing, &addresses(texts), &[], true);
        let v6_only = refused(&["[::]:20001"]).unwrap();
        assert!(v6_only.contains("[::]:20001 for one family only (ipv6Only"), "{v6_only}");
        assert_eq!(refused(&["0.0.0.0:20001", "[::]:20001"]), None);
    }

    #[test]
    fn handed_listener_is_not_diagnosed_but_another_one_is() {
        let public = [Address::Tcp(addresses(&["0.0.0.0:80"])[0])];
        let told = |texts: &[&str]| {
            explain_not_ready(&Endpoint::Inherited, PassedAs::Listeners, &addresses(texts), &public, false)
        };
        let other = told(&["0.0.0.0:80", "0.0.0.0:3000"]).unwrap();
        assert!(other.contains("listens on 0.0.0.0:3000 by itself") && other.contains("descriptor 3"), "{other}");
        assert_eq!(told(&["0.0.0.0:80"]), None);
    }

    #[test]
    fn listener_past_node_cluster_is_diagnosed_with_its_causes() {
        for endpoint in [Endpoint::Channel, Endpoint::Inherited] {
            let told = |texts: &[&str]| explain_not_ready(&endpoint, PassedAs::Node, &addresses(texts), &[], false);
            let other = told(&["127.0.0.1:3000"]).unwrap();
            for word in ["127.0.0.1:3000 by itself", "exclusive", "reusePort", "worker thread", "$PORT"] {
                assert!(other.contains(word), "{other}");
            }
            assert_eq!(told(&[]), None);
        }
    }

    #[test]
    fn private_port_beyond_loopback_is_warned_about() {
        let told = |texts: &[&str]| explain_exposed(&endpoint(), &addresses(texts));
        assert!(told(&["0.0.0.0:20001"]).is_some());
        assert!(told(&["[::]:20001"]).is_some());
        for fine in [&[][..], &["127.0.0.1:20001"], &["[::ffff:127.0.0.1]:20001"], &["0.0.0.0:3000"]] {
            assert_eq!(told(fine), None, "{fine:?}");
        }
    }
}
