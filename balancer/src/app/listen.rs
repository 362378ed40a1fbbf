//! Opens what the configuration names, or says who is in the way.

use std::io;
use std::net::SocketAddr;

use crate::config::{self, Address};
use crate::failure::{Failure, code};
use crate::mode::Inherits;
use crate::net::group::Group;
use crate::net::listeners::{BindError, Listener, is_v6_only};
use crate::net::public::Public;
use crate::os::inspect;

/// What each pool listens on, in the order of the configuration; `cpus` decide how many workers some have.
pub(super) fn public(pools: &[config::Pool], cpus: usize) -> Result<Vec<Public>, Failure> {
    let opened = pools.iter().map(|pool| of_pool(pool, cpus)).collect::<Result<_, _>>();
    opened.map_err(|error| explain(&error.address, &error.source, Asked::Flag("--listen")))
}

fn of_pool(pool: &config::Pool, cpus: usize) -> Result<Public, BindError> {
    let listeners = || pool.listen.iter().map(|address| bind(address, pool)).collect::<Result<_, _>>();
    let group = |address: &Address| {
        let count = pool.workers.resolve(cpus) as usize;
        Group::bind(address, count, pool.backlog, pool.keepalive, is_v6_only(address, &pool.listen))
    };
    match pool.mode.inherits() {
        Inherits::SlotListener => Ok(Public::Groups(pool.listen.iter().map(group).collect::<Result<_, _>>()?)),
        Inherits::Nothing | Inherits::PublicListeners | Inherits::Channel => Ok(Public::Listeners(listeners()?)),
    }
}

/// One more public listener of a pool that runs, by its new rules.
pub(super) fn at_reload(address: &Address, rules: &config::Pool) -> Result<Listener, Failure> {
    bind(address, rules).map_err(|error| explain(&error.address, &error.source, Asked::Reload))
}

fn bind(address: &Address, rules: &config::Pool) -> Result<Listener, BindError> {
    Listener::bind(address, rules.backlog, rules.keepalive, is_v6_only(address, &rules.listen))
}

/// The admin port, if there is to be one.
pub(super) fn admin(admin: &config::Admin) -> Result<Option<std::net::TcpListener>, Failure> {
    let Some(address) = admin.listen else { return Ok(None) };
    let opened = std::net::TcpListener::bind(address);
    opened.map(Some).map_err(|error| explain(&Address::Tcp(address), &error, Asked::Flag("--admin")))
}

/// How an address was asked for, and so how another one is.
#[derive(Clone, Copy, Debug)]
enum Asked {
    /// At the start; this flag says another.
    Flag(&'static str),
    /// By a file that was read again.
    Reload,
}

fn explain(address: &Address, error: &io::Error, asked: Asked) -> Failure {
    let failure = Failure::new(code::FAILED, format!("cannot listen on {address}"));
    match (error.kind(), address) {
        (io::ErrorKind::AddrInUse, Address::Tcp(taken)) => {
            let holder = inspect::port_holder(*taken);
            let is_ours = holder.as_ref().is_some_and(|holder| holder.pid == std::process::id());
            let held =
                holder.map(|holder| format!("; held by {} (pid {})", holder.name, holder.pid)).unwrap_or_default();
            let other = SocketAddr::new(taken.ip(), taken.port().saturating_add(1));
            let hint = match asked {
                Asked::Flag(flag) => format!("choose another with {flag} {other}, or stop that program"),
                Asked::Reload if is_ours => {
                    "this master listens there itself: give that address up by one reload, and take it by the next"
                        .into()
                }
                Asked::Reload => format!("choose another, such as listen = \"{other}\", or stop that program"),
            };
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
