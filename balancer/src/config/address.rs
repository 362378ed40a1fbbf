//! Public addresses: `127.0.0.1:8080`, `[::]:80` (both families), `:80` (the same), `unix:/path`, `fd:NAME`.

use std::fmt;
use std::net::{Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

/// An address to which clients connect.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Address {
    /// A TCP address. The IPv6 wildcard `[::]` takes IPv4 clients too, unless the same pool also lists `0.0.0.0` with
    /// that port.
    Tcp(SocketAddr),
    /// The path of a unix stream socket.
    Unix(PathBuf),
    /// All listeners that were passed to the master under this name by its starter, such as systemd.
    Passed(String),
}

/// The reason why a text is not an address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// No form of an address fits.
    #[error("`{0}` is not an address: write 127.0.0.1:8080, [::1]:8080, :8080 (all interfaces) or unix:/path")]
    Form(String),
    /// A host name where an IP address is needed.
    #[error("`{0}` names a host: a listener takes an IP address, such as 127.0.0.1:{1}")]
    Name(String, u16),
    /// `unix:` without an absolute path.
    #[error("`{0}`: a unix address needs an absolute path, such as unix:/run/app.sock")]
    Path(String),
    /// `fd:` without a name that a descriptor can have.
    #[error("`{0}`: the name of a passed listener is 1 to 255 characters of ASCII without `:`, such as fd:web")]
    Descriptor(String),
}

impl Address {
    /// Returns the TCP port, if it has one.
    pub fn port(&self) -> Option<u16> {
        match self {
            Self::Tcp(address) => Some(address.port()),
            Self::Unix(_) | Self::Passed(_) => None,
        }
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Some(path) = text.strip_prefix("unix:") {
            let is_absolute = path.starts_with('/') && path.len() > 1 && !path.contains('\0');
            return is_absolute.then(|| Self::Unix(path.into())).ok_or_else(|| AddressError::Path(text.to_owned()));
        }
        if let Some(name) = text.strip_prefix("fd:") {
            let is_sound = (1..=255).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_graphic() && b != b':');
            return is_sound
                .then(|| Self::Passed(name.to_owned()))
                .ok_or_else(|| AddressError::Descriptor(text.to_owned()));
        }
        if let Ok(address) = text.parse() {
            return Ok(Self::Tcp(address));
        }
        let Some((host, port)) = text.rsplit_once(':') else {
            return Err(AddressError::Form(text.to_owned()));
        };
        let port = port.parse().map_err(|_| AddressError::Form(text.to_owned()))?;
        match host {
            "" => Ok(Self::Tcp(SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)))),
            _ if host.bytes().any(|b| b == b':' || b == b'[' || b == b'/') => Err(AddressError::Form(text.to_owned())),
            _ if host.bytes().all(|b| b.is_ascii_digit() || b == b'.') => Err(AddressError::Form(text.to_owned())),
            _ => Err(AddressError::Name(text.to_owned(), port)),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Tcp(address) => address.fmt(f),
            Address::Unix(path) => write!(f, "unix:{}", path.display()),
            Address::Passed(name) => write!(f, "fd:{name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_address_form_is_read_and_printed_back() {
        for text in ["127.0.0.1:8080", "[::1]:80", "[::]:0", "unix:/run/a b.sock", "fd:web.socket"] {
            assert_eq!(text.parse::<Address>().map(|address| address.to_string()).as_deref(), Ok(text));
        }
        assert_eq!(":80".parse::<Address>().map(|address| address.to_string()).as_deref(), Ok("[::]:80"));
    }

    #[test]
    fn wrong_address_is_refused_with_the_form_that_was_meant() {
        for text in ["", "8080", "127.0.0.1", "127.0.0.1:99999", "::1:80x", "1.2.3:80", "http://x:80"] {
            assert!(matches!(text.parse::<Address>(), Err(AddressError::Form(_))), "{text}");
        }
        let named = "localhost:8080".parse::<Address>();
        assert_eq!(named, Err(AddressError::Name("localhost:8080".into(), 8080)));
        for text in ["fd:", "fd:a:b", "fd:a b", "fd:ä"] {
            assert_eq!(text.parse::<Address>(), Err(AddressError::Descriptor(text.into())));
        }
        for text in ["unix:", "unix:run", "unix:/"] {
            assert_eq!(text.parse::<Address>(), Err(AddressError::Path(text.into())));
        }
    }
}
