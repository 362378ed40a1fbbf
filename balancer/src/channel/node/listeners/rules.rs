//! The addresses that an app may have opened by its `listen()` alone. Pure.
//!
//! The master may have rights that its workers do not have, and its listeners outlive the workers. So an app gets
//! without configuration only harmless addresses: TCP on loopback or on all interfaces. Any other address must be in
//! the configuration.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use super::Decision;
use crate::channel::node::broken::excerpt;
use crate::channel::node::query::{AddressType, Query};
use crate::os::limits::LONGEST_UNIX_PATH;

/// The number of clients that may wait if the app does not say: Node's own default.
pub(super) const BACKLOG: u32 = 511;

/// The lowest port that every user may bind.
const FIRST_FREE_PORT: u16 = 1024;

/// The configured rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// The configuration names the pool's public address: the first server of each worker gets it.
    pub public: bool,
    /// A public address is TCP. Then a server on a path never gets it: such a server often belongs to a tool, which
    /// would not know what to do with a client.
    pub public_is_tcp: bool,
    /// Apps may have ports below 1024 opened, if the master can.
    pub may_bind_low_ports: bool,
    /// True if apps may have unix paths opened.
    pub may_bind_paths: bool,
}

/// The address to bind for an app.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Where {
    /// A port.
    Tcp {
        /// The address. The IPv6 wildcard also takes IPv4 clients, unless `v6_only`.
        address: SocketAddr,
        /// True if it takes no IPv4 clients.
        v6_only: bool,
        /// The address to try on a machine without IPv6, if the app named no address.
        fallback: Option<SocketAddr>,
    },
    /// A path. A file that exists there is never removed: it may belong to another program.
    Unix(PathBuf),
}

/// The address that an app asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// A TCP address; all interfaces if it names none.
    Tcp { ip: Option<IpAddr>, port: u16 },
    /// A path.
    Path(String),
}

/// The reason of a refusal: the error number and the text.
#[derive(Debug)]
pub(super) struct Refusal {
    errno: i32,
    why: String,
}

impl Refusal {
    fn new(errno: i32, why: String) -> Self {
        Self { errno, why }
    }

    /// Returns the refusal as a decision about a key.
    pub(super) fn of(self, key: String) -> Decision {
        Decision::Refuse { key, errno: self.errno, why: self.why }
    }
}

/// Returns the address that a query asks for.
pub(super) fn target(query: &Query) -> Result<Target, Refusal> {
    let address = query.address.as_deref();
    let port = query.port.map_or("none".into(), |port| port.to_string());
    match query.address_type {
        AddressType::Udp4 | AddressType::Udp6 => Err(Refusal::new(
            libc::ENOTSUP,
            format!(
                "the app binds UDP port {port}: only TCP connections can be handed to workers; `exclusive: true` in bind() \
                 opens a socket of the worker's own"
            ),
        )),
        AddressType::Fd => Err(Refusal::new(
            libc::EBADF,
            format!(
                "the app listens on descriptor {}: this is not supported; let it listen on a port",
                query.fd.map_or("none".into(), |fd| fd.to_string())
            ),
        )),
        AddressType::Unix => match address {
            None => Err(Refusal::new(
                libc::EINVAL,
                "the app listens on a socket object: this is not supported; let it listen on a port".into(),
            )),
            Some(path) => path_target(path),
        },
        AddressType::Ipv4 | AddressType::Ipv6 => {
            let named = excerpt(address.unwrap_or("all interfaces"));
            let port = query.port.and_then(|port| u16::try_from(port).ok()).ok_or_else(|| {
                let why = format!("the app listens on {named}, port {port}, but a port is a number from 0 to 65535");
                Refusal::new(libc::EINVAL, why)
            })?;
            let ip = address.map(str::parse::<IpAddr>).transpose().map_err(|_| {
                let why = format!(
                    "the app listens on {named}, port {port}: this is not an IP address; use 127.0.0.1, or no address for \
                     all interfaces"
                );
                Refusal::new(libc::EADDRNOTAVAIL, why)
            })?;
            Ok(Target::Tcp { ip: ip.map(|ip| ip.to_canonical()), port })
        }
    }
}

fn path_target(path: &str) -> Result<Target, Refusal> {
    let what = if !path.starts_with('/') {
        "a path must be absolute"
    } else if path.len() > LONGEST_UNIX_PATH || path.contains('\0') {
        "a path may have at most 107 bytes, and no zero byte"
    } else {
        return Ok(Target::Path(path.to_owned()));
    };
    Err(Refusal::new(libc::EINVAL, format!("the app listens on the unix path {}: {what}", excerpt(path))))
}

impl Target {
    /// Returns the address that the app is told it listens on, if it gets something else.
    pub(super) fn sockname(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp { ip, port } => Some(SocketAddr::new(ip.unwrap_or(Ipv6Addr::UNSPECIFIED.into()), *port)),
            Self::Path(_) => None,
        }
    }

    /// Returns true if a server on it may be the public one.
    pub(super) fn may_be_public(&self, policy: &Policy) -> bool {
        policy.public && !(policy.public_is_tcp && matches!(self, Self::Path(_)))
    }

    /// Returns the address as it is written in `--listen`.
    fn named(&self) -> String {
        match self {
            Self::Tcp { ip: None, port } => format!(":{port}"),
            Self::Tcp { ip: Some(ip), port } => SocketAddr::new(*ip, *port).to_string(),
            Self::Path(path) => format!("unix:{}", excerpt(path)),
        }
    }

    /// Returns the address to bind, if the app may have it without configuration.
    pub(super) fn may_be_bound(&self, query: &Query, policy: &Policy) -> Result<Where, Refusal> {
        let named = self.named();
        let refuse =
            |errno, why| Err(Refusal::new(errno, format!("the app listens on {named}: {why} --listen {named}")));
        let (ip, port) = match self {
            Self::Path(_) if !policy.may_bind_paths => {
                return refuse(libc::EACCES, "unix paths must be named in the configuration, with");
            }
            Self::Path(path) => return Ok(Where::Unix(path.into())),
            Self::Tcp { ip, port } => (*ip, *port),
        };
        if ip.is_some_and(|ip| !ip.is_loopback() && !ip.is_unspecified()) {
            return refuse(libc::EADDRNOTAVAIL, "this address is neither loopback nor all interfaces; name it with");
        }
        if (1..FIRST_FREE_PORT).contains(&port) && !policy.may_bind_low_ports {
            return refuse(libc::EACCES, "ports below 1024 must be named in the configuration, with");
        }
        // Bit 0 of Node's flags: `ipv6Only`.
        let v6_only = query.flags & 1 == 1 && ip.is_none_or(|ip| ip.is_ipv6());
        let fallback = (ip.is_none() && !v6_only).then(|| SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)));
        let address = SocketAddr::new(ip.unwrap_or(Ipv6Addr::UNSPECIFIED.into()), port);
        Ok(Where::Tcp { address, v6_only, fallback })
    }

    /// Returns the refusal for a worker that has this address already.
    pub(super) fn is_taken(&self) -> Refusal {
        let why = format!(
            "the app listens on {} twice in one process: close the first server, or choose another port",
            self.named()
        );
        Refusal::new(libc::EADDRINUSE, why)
    }

    /// Returns the refusal for a worker that has too many servers.
    pub(super) fn is_one_too_many(&self, most: usize) -> Refusal {
        let why = format!(
            "the app listens on {} and on {most} more addresses, and no worker may have more than {most}: close some",
            self.named()
        );
        Refusal::new(libc::EMFILE, why)
    }
}
