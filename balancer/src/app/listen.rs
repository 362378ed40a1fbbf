//! Opens the configured addresses, or takes listeners that were passed to this process; an error names the program that
//! is in the way.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;

use crate::config::{self, Address, PassedAs};
use crate::failure::{Failure, code};
use crate::mode::{Inherits, Mode};
use crate::net::group::Group;
use crate::net::listeners::{BindError, Listener, PassedListeners, is_v6_only};
use crate::net::public::Public;
use crate::os::activation::Activated;
use crate::os::inspect;

/// The public listeners of a pool.
pub(super) struct Bound {
    pub(super) public: Public,
    /// The configured address of each listener, in the same order: one name may stand for several listeners.
    pub(super) configured: Vec<Address>,
}

/// Returns the listeners among the descriptors that were passed to us; the others are logged and closed.
pub(super) fn passed(activated: Vec<Activated>) -> PassedListeners {
    let mut passed = PassedListeners::default();
    for Activated { descriptor, name } in activated {
        if let Err(error) = passed.add(name.clone(), descriptor) {
            tracing::warn!(name, %error, "passed descriptor closed: it cannot be listened on");
        }
    }
    passed
}

/// Logs and closes the passed listeners that no pool uses.
pub(super) fn close_unused(passed: PassedListeners) {
    for (name, address) in passed.iter() {
        tracing::warn!(
            name, %address,
            "passed listener closed: no pool listens on its address or its name (listen = \"fd:NAME\")"
        );
    }
}

/// Opens the listeners of each pool, in the order of the configuration; `cpus` decides how many workers some pools
/// have. Passed listeners are first taken by their names, and then by their addresses.
pub(super) fn public(
    pools: &[config::PoolConfig],
    cpus: usize,
    passed: &mut PassedListeners,
) -> Result<Vec<Bound>, Failure> {
    let mut named = BTreeMap::new();
    for address in pools.iter().flat_map(|pool| &pool.listen) {
        if let Address::Passed(name) = address {
            let found = passed.take_named(name);
            if found.is_empty() {
                return Err(not_passed(name, passed));
            }
            named.insert(name.as_str(), found);
        }
    }
    pools.iter().map(|pool| of_pool(pool, cpus, passed, &mut named)).collect()
}

fn of_pool(
    pool: &config::PoolConfig,
    cpus: usize,
    passed: &mut PassedListeners,
    named: &mut BTreeMap<&str, Vec<Listener>>,
) -> Result<Bound, Failure> {
    match pool.mode.inherits() {
        Inherits::SlotListener => {
            let mut group = |address: &Address| {
                if passed.take_at(address).is_some() {
                    return Err(not_for_each(address));
                }
                let count = pool.workers.resolve(cpus) as usize;
                let v6_only = is_v6_only(address, &pool.listen);
                let bound = Group::bind(address, count, pool.backlog, pool.keepalive, v6_only);
                bound.map_err(|error| at_start(&error, "--listen", passed))
            };
            let groups = pool.listen.iter().map(&mut group).collect::<Result<_, _>>()?;
            Ok(Bound { public: Public::Groups(groups), configured: pool.listen.clone() })
        }
        Inherits::Nothing | Inherits::PublicListeners | Inherits::Channel => {
            let mut opened = Vec::new();
            for address in &pool.listen {
                let found = match address {
                    Address::Passed(name) => named.remove(name.as_str()).unwrap_or_default(),
                    Address::Tcp(_) | Address::Unix(_) => passed.take_at(address).into_iter().collect(),
                };
                for listener in &found {
                    let set = listener.set_client_options(pool.keepalive);
                    set.map_err(|error| cannot_listen(address).cause(error))?;
                }
                if found.is_empty() {
                    let bound = bind(address, pool).map_err(|error| at_start(&error, "--listen", passed))?;
                    opened.push((address.clone(), bound));
                }
                opened.extend(found.into_iter().map(|listener| (address.clone(), listener)));
            }
            if pool.mode == Mode::Shared && pool.passed_as() == PassedAs::Node && opened.len() > 1 {
                return Err(one_for_node(&opened));
            }
            let (configured, listeners) = opened.into_iter().unzip();
            Ok(Bound { public: Public::Listeners(listeners), configured })
        }
    }
}

/// Binds one more public listener of a running pool, for its new configuration.
pub(super) fn at_reload(address: &Address, config: &config::PoolConfig) -> Result<Listener, Failure> {
    if let Address::Passed(name) = address {
        let cause = format!("no listener `{name}` is open: they are passed to a master when it is started");
        return Err(cannot_listen(address).cause(cause).hint("start the master again, or write an address"));
    }
    bind(address, config).map_err(|error| explain(&error.address, &error.source, Asked::Reload))
}

fn bind(address: &Address, config: &config::PoolConfig) -> Result<Listener, BindError> {
    Listener::bind(address, config.backlog, config.keepalive, is_v6_only(address, &config.listen))
}

/// Opens the admin port, if it is configured.
pub(super) fn admin(
    admin: &config::Admin,
    passed: &mut PassedListeners,
) -> Result<Option<std::net::TcpListener>, Failure> {
    let Some(at) = admin.listen else { return Ok(None) };
    let address = Address::Tcp(at);
    if let Some(listener) = passed.take_at(&address) {
        return Ok(listener.into_tcp());
    }
    let opened = std::net::TcpListener::bind(at);
    opened.map(Some).map_err(|source| at_start(&BindError { address, source }, "--admin", passed))
}

fn cannot_listen(address: &Address) -> Failure {
    Failure::new(code::FAILED, format!("cannot listen on {address}"))
}

fn not_passed(name: &str, passed: &PassedListeners) -> Failure {
    let names: Vec<&str> = passed.iter().map(|(name, _)| name).collect();
    let cause = match names.as_slice() {
        [] => "no listener was passed to this process, by LISTEN_FDS with its pid in LISTEN_PID".to_owned(),
        names => format!("the listeners that were passed to this process are called {}", names.join(", ")),
    };
    let hint =
        format!("name it FileDescriptorName={name} in the .socket unit, or systemd-socket-activate --fdname={name}");
    cannot_listen(&Address::Passed(name.to_owned())).cause(cause).hint(hint)
}

fn not_for_each(address: &Address) -> Failure {
    let cause = "its listener was passed to this process, and in mode `reuseport` each worker has one of its own";
    cannot_listen(address).cause(cause).hint("use mode `shared`, which serves from it, or start without it")
}

fn one_for_node(opened: &[(Address, Listener)]) -> Failure {
    let addresses: Vec<_> = opened.iter().map(|(_, listener)| listener.address().to_string()).collect();
    let cause = format!(
        "{} are passed by that name, and a Node application in mode `shared` gets one socket",
        addresses.join(" and ")
    );
    let address = opened.first().map_or(Address::Passed(String::new()), |(address, _)| address.clone());
    cannot_listen(&address).cause(cause).hint("use mode = \"handoff\", which accepts on all of them")
}

/// Returns the error for an address that could not be bound at the start. `flag` chooses another address.
fn at_start(error: &BindError, flag: &'static str, passed: &PassedListeners) -> Failure {
    let rival = match (error.source.kind(), &error.address) {
        (io::ErrorKind::AddrInUse, Address::Tcp(taken)) => passed.on_port_of(*taken),
        _ => None,
    };
    match rival {
        Some((name, bound)) => cannot_listen(&error.address)
            .cause(format!("{}; a listener on {bound} was passed to this process", error.source))
            .hint(format!("write {flag} {bound}, or listen = \"fd:{name}\"")),
        None => explain(&error.address, &error.source, Asked::Flag(flag)),
    }
}

/// The way in which an address was asked for, and so the way to choose another one.
#[derive(Clone, Copy, Debug)]
enum Asked {
    /// At the start; this flag chooses another address.
    Flag(&'static str),
    /// By a reload of the file.
    Reload,
}

fn explain(address: &Address, error: &io::Error, asked: Asked) -> Failure {
    let failure = cannot_listen(address);
    match (error.kind(), address) {
        (io::ErrorKind::AddrInUse, Address::Tcp(taken)) => {
            let holder = inspect::port_holder(*taken);
            let is_ours = holder.as_ref().is_some_and(|holder| holder.pid == std::process::id());
            let held =
                holder.map(|holder| format!("; held by {} (pid {})", holder.name, holder.pid)).unwrap_or_default();
            let other = SocketAddr::new(taken.ip(), taken.port().saturating_add(1));
            let hint = match asked {
                Asked::Flag(_) if is_ours => {
                    "this process was started with that socket and not told so: LISTEN_PID must be its own pid, as it is \
                     when the program that passes the socket executes it directly"
                        .into()
                }
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
