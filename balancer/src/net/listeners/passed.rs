//! Listeners that were passed to the master by the process that started it, as systemd does.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::time::Duration;

use socket2::{Socket, Type};

use super::{Listener, set_client_options};
use crate::config::Address;

/// The passed listeners that no pool has taken yet.
#[derive(Debug, Default)]
pub struct PassedListeners {
    listeners: Vec<(String, Listener)>,
}

impl PassedListeners {
    /// Adds a listener under its name.
    ///
    /// # Errors
    ///
    /// If the descriptor is no listening stream socket. It is closed then.
    pub fn add(&mut self, name: String, descriptor: OwnedFd) -> io::Result<()> {
        self.listeners.push((name, Listener::of_passed(descriptor)?));
        Ok(())
    }

    /// Takes all listeners of that name, in the order in which they were passed.
    pub fn take_named(&mut self, name: &str) -> Vec<Listener> {
        self.listeners.extract_if(.., |(one, _)| one == name).map(|(_, listener)| listener).collect()
    }

    /// Takes the listener on `address`. An address with port 0 has none.
    pub fn take_at(&mut self, address: &Address) -> Option<Listener> {
        let is_there = |(_, listener): &(String, Listener)| match (address, listener.address()) {
            (Address::Tcp(asked), Address::Tcp(bound)) => canonical(*asked) == canonical(*bound),
            (asked, bound) => asked == bound,
        };
        let at = self.listeners.iter().position(is_there)?;
        Some(self.listeners.remove(at).1)
    }

    /// Returns the name and the address of a listener on the port of `address`, which may keep it from being bound.
    pub fn on_port_of(&self, address: SocketAddr) -> Option<(&str, &Address)> {
        let has_port = |bound: &Address| matches!(bound, Address::Tcp(bound) if bound.port() == address.port());
        self.iter().find(|(_, bound)| has_port(bound))
    }

    /// Returns the name and the address of each.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Address)> {
        self.listeners.iter().map(|(name, listener)| (name.as_str(), listener.address()))
    }
}

impl Listener {
    /// Makes a listener of a socket that listens already. Its backlog, and the file of a unix path, belong to the
    /// process that made it.
    fn of_passed(descriptor: OwnedFd) -> io::Result<Self> {
        let socket = Socket::from(descriptor);
        let is_listener = socket.r#type()? == Type::STREAM && socket.is_listener()?;
        if !is_listener {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "no listening stream socket"));
        }
        let local = socket.local_addr()?;
        let address = match (local.as_socket(), local.as_pathname(), local.as_abstract_namespace()) {
            (Some(bound), ..) => Address::Tcp(bound),
            (_, Some(path), _) => Address::Unix(path.to_owned()),
            // Abstract names are commonly written with an @.
            (.., Some(name)) => {
                let name = [b"@", name].concat();
                Address::Unix(PathBuf::from(std::ffi::OsStr::from_bytes(&name)))
            }
            _ => return Err(io::Error::new(io::ErrorKind::InvalidInput, "a listener without an address")),
        };
        socket.set_nonblocking(true)?;
        Ok(Self { socket, address, path: None })
    }

    /// Sets the options that client connections of a passed TCP listener need, as [`Listener::bind`] does.
    ///
    /// # Errors
    ///
    /// The kernel's error.
    pub fn set_client_options(&self, keepalive: Duration) -> io::Result<()> {
        match self.address {
            Address::Tcp(_) => set_client_options(&self.socket, keepalive),
            Address::Unix(_) | Address::Passed(_) => Ok(()),
        }
    }

    /// Returns the bare socket, if it is one of TCP.
    pub fn into_tcp(self) -> Option<std::net::TcpListener> {
        matches!(self.address, Address::Tcp(_)).then(|| self.socket.into())
    }
}

/// The address without the IPv6 form of an IPv4 one.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, UdpSocket};
    use std::os::unix::net::UnixListener;

    #[test]
    fn passed_listeners_are_found_by_address_and_name() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("public.sock");
        let tcp = [(); 3].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
        let [first, second, third] = tcp.each_ref().map(|listener| Address::Tcp(listener.local_addr().unwrap()));
        let mut passed = PassedListeners::default();
        for (listener, name) in std::iter::zip(tcp, ["web", "web", "other"]) {
            passed.add(name.to_owned(), listener.into()).unwrap();
        }
        passed.add("path".to_owned(), UnixListener::bind(&path).unwrap().into()).unwrap();

        let found = passed.take_at(&Address::Unix(path.clone())).unwrap();
        drop(found);
        assert!(path.exists(), "its file belongs to its maker");
        assert!(passed.take_at(&"127.0.0.1:0".parse().unwrap()).is_none());
        let Address::Tcp(at) = third else { panic!("{third}") };
        assert_eq!(passed.on_port_of(([0, 0, 0, 0], at.port()).into()), Some(("other", &third)));
        let web = passed.take_named("web");
        assert_eq!(web.iter().map(Listener::address).collect::<Vec<_>>(), [&first, &second]);
        assert!(passed.take_at(&third).is_some() && passed.take_at(&third).is_none());
        assert_eq!(passed.iter().count(), 0);
    }

    #[test]
    fn passed_descriptor_that_listens_not_is_refused() {
        let mut passed = PassedListeners::default();
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        assert!(passed.add("udp".to_owned(), udp.into()).is_err());
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        assert!(passed.add("client".to_owned(), client.into()).is_err());
        let file = tempfile::tempfile().unwrap();
        assert!(passed.add("file".to_owned(), file.into()).is_err());
    }
}
