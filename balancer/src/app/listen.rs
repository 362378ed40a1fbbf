//! Opens what the configuration names, or says who is in the way.

use std::io;
use std::net::SocketAddr;

use crate::config::{self, Address};
use crate::failure::{Failure, code};
use crate::net::listeners::{BindError, Listener, is_v6_only};
use crate::os::inspect;

/// The public listeners of each pool, in the order of the configuration.
pub(super) fn public(pools: &[config::Pool]) -> Result<Vec<Vec<Listener>>, Failure> {
    let of_pool = |pool: &config::Pool| {
        let open = |address| {
            let v6_only = is_v6_only(address, &pool.listen);
            Listener::bind(address, pool.backlog, pool.keepalive, v6_only)
        };
        pool.listen.iter().map(open).collect::<Result<Vec<_>, BindError>>()
    };
    let opened = pools.iter().map(of_pool).collect::<Result<_, _>>();
    opened.map_err(|error| explain(&error.address, &error.source, "--listen"))
}

/// The admin port, if there is to be one.
pub(super) fn admin(admin: &config::Admin) -> Result<Option<std::net::TcpListener>, Failure> {
    let Some(address) = admin.listen else { return Ok(None) };
    let opened = std::net::TcpListener::bind(address);
    opened.map(Some).map_err(|error| explain(&Address::Tcp(address), &error, "--admin"))
}

fn explain(address: &Address, error: &io::Error, flag: &str) -> Failure {
    let failure = Failure::new(code::FAILED, format!("cannot listen on {address}"));
    match (error.kind(), address) {
        (io::ErrorKind::AddrInUse, Address::Tcp(taken)) => {
            let holder = inspect::port_holder(*taken);
            let held =
                holder.map(|holder| format!("; held by {} (pid {})", holder.name, holder.pid)).unwrap_or_default();
            let other = SocketAddr::new(taken.ip(), taken.port().saturating_add(1));
            let hint = format!("choose another with {flag} {other}, or stop that program");
            failure.cause(format!("{error}{held}")).hint(hint)
        }
        (io::ErrorKind::AddrNotAvailable, Address::Tcp(_)) => {
            failure.cause(error).hint("no interface of this machine has that address; see `ip address`")
        }
        (io::ErrorKind::PermissionDenied, Address::Tcp(low)) if low.port() < 1024 => {
            failure.cause(error).hint("choose a port above 1023, or give the binary CAP_NET_BIND_SERVICE")
        }
        _ => failure.cause(error),
    }
}
