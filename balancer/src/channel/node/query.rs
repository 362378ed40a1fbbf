//! The query that a worker sends when its app listens, and the possible answers. Pure.

use std::net::SocketAddr;

use serde_json::{Map, Value};

/// The address family of an app's `listen()` or `bind()`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddressType {
    /// TCP over IPv4; also all interfaces, when no address is given.
    Ipv4,
    /// TCP over IPv6.
    Ipv6,
    /// A unix stream socket by its path.
    Unix,
    /// UDP over IPv4.
    Udp4,
    /// UDP over IPv6.
    Udp6,
    /// A descriptor by its number.
    Fd,
}

impl AddressType {
    fn read(value: Option<&Value>) -> Option<Self> {
        match value {
            None | Some(Value::Null) => Some(Self::Fd),
            Some(Value::Number(number)) => match number.as_i64() {
                Some(4) => Some(Self::Ipv4),
                Some(6) => Some(Self::Ipv6),
                Some(-1) => Some(Self::Unix),
                _ => None,
            },
            Some(Value::String(text)) if text == "udp4" => Some(Self::Udp4),
            Some(Value::String(text)) if text == "udp6" => Some(Self::Udp6),
            Some(_) => None,
        }
    }

    /// Returns the family as it is written in a key.
    fn as_str(self) -> &'static str {
        match self {
            Self::Ipv4 => "4",
            Self::Ipv6 => "6",
            Self::Unix => "-1",
            Self::Udp4 => "udp4",
            Self::Udp6 => "udp6",
            Self::Fd => "null",
        }
    }
}

/// The app of a worker wants to listen, and waits for an answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Query {
    /// The number of the query; the answer repeats it.
    pub seq: u64,
    /// An IP address or an absolute path; `None` for all interfaces, and for a descriptor.
    pub address: Option<String>,
    /// The port: 0 is any, -1 comes with a path, `None` with a descriptor. Not checked.
    pub port: Option<i32>,
    /// Its family.
    pub address_type: AddressType,
    /// The descriptor's number, in *our* table; -1 with UDP.
    pub fd: Option<i32>,
    /// The number of earlier queries of this worker for the same address.
    pub index: u32,
    /// Flags; with TCP, bit 0 is IPv6 only.
    pub flags: u32,
    /// The number of clients that may wait; `None` or 0 if the app did not say.
    pub backlog: Option<u32>,
    /// Data that all workers of this server share: the session tickets of TLS. Else null.
    pub data: Value,
}

impl Query {
    /// Reads a `queryServer`, or a `listening`, which repeats the query with the real port. `None` if a field has an
    /// unknown form.
    pub(super) fn read(message: &mut Map<String, Value>) -> Option<Self> {
        let data = message.remove("data").unwrap_or_default();
        Some(Self {
            seq: message.get("seq")?.as_u64()?,
            address: match said(message, "address") {
                None => None,
                Some(address) => Some(address.as_str()?.to_owned()),
            },
            port: number(message, "port")?,
            address_type: AddressType::read(message.get("addressType"))?,
            fd: number(message, "fd")?,
            index: number(message, "index")?.unwrap_or_default(),
            flags: number(message, "flags")?.unwrap_or_default(),
            backlog: backlog(message)?,
            data,
        })
    }

    /// Returns the key: workers that ask for the same server have the same key. It is written as Node writes it.
    ///
    /// With port 0 the key includes the index, so that each such server of a worker is one of its own. With any other
    /// port two equal queries mean the same server.
    pub fn key(&self) -> String {
        let port = self.port.map_or("null".into(), |port| port.to_string());
        let fd = self.fd.map_or("undefined".into(), |fd| fd.to_string());
        let address = self.address.as_deref().unwrap_or("null");
        let kind = self.address_type.as_str();
        let index = if self.port == Some(0) { format!(":{}", self.index) } else { String::new() };
        format!("{address}:{port}:{kind}:{fd}{index}")
    }
}

/// Returns the value of a field; `None` also if it is null.
fn said<'a>(message: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    message.get(name).filter(|value| !value.is_null())
}

/// Reads the backlog. Node writes `false` for `listen(port, host, callback)`, whose third argument is not a number.
fn backlog(message: &Map<String, Value>) -> Option<Option<u32>> {
    match said(message, "backlog") {
        Some(Value::Bool(false)) => Some(None),
        _ => Some(number(message, "backlog")?.filter(|backlog| *backlog > 0)),
    }
}

/// Reads a number that may be absent (`Some(None)`); the outer `None` is a value that is not a valid number.
fn number<T: TryFrom<i64>>(message: &Map<String, Value>, name: &str) -> Option<Option<T>> {
    match said(message, name) {
        None => Some(None),
        Some(value) => Some(Some(T::try_from(value.as_i64()?).ok()?)),
    }
}

/// The answer to a query.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// Connections of this key will be handed over one by one.
    RoundRobin {
        /// The key of the server; the worker must not have a server with it already.
        key: String,
        /// The result of the app's `server.address()`; `None` for a unix path.
        sockname: Option<SocketAddr>,
        /// The data that the first worker of this server sent with its query. It must never be left out.
        data: Value,
    },
    /// The listening socket itself goes along: the worker accepts by itself.
    Shared {
        /// The key of the server; the worker must not have a server with it already.
        key: String,
        /// The listening socket, by the caller's number.
        listener: u64,
        /// The data that the first worker of this server sent with its query.
        data: Value,
    },
    /// The app's server fails with this error.
    Refused {
        /// The kernel's error number, positive, such as 98.
        errno: i32,
        /// The key that was asked for.
        key: String,
    },
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(value: Value) -> Option<Query> {
        Query::read(&mut value.as_object().unwrap().clone())
    }

    #[test]
    fn key_is_written_as_in_node_with_index_only_for_any_port() {
        let cases = [
            (
                json!({"seq": 1, "index": 0, "data": null, "address": null, "port": 3000, "addressType": 4}),
                "null:3000:4:undefined",
            ),
            (
                json!({"seq": 1, "index": 2, "address": "127.0.0.1", "port": 0, "addressType": 4}),
                "127.0.0.1:0:4:undefined:2",
            ),
            (json!({"seq": 1, "index": 1, "address": "::1", "port": 80, "addressType": 6}), "::1:80:6:undefined"),
            (json!({"seq": 1, "address": "/run/a.sock", "port": -1, "addressType": -1}), "/run/a.sock:-1:-1:undefined"),
            (json!({"seq": 1, "address": null, "port": null, "addressType": null, "fd": 3}), "null:null:null:3"),
            (json!({"seq": 1, "address": null, "port": 53, "addressType": "udp4", "fd": -1}), "null:53:udp4:-1"),
        ];
        for (message, key) in cases {
            assert_eq!(read(message).unwrap().key(), key);
        }
    }

    #[test]
    fn absent_is_null_and_zero_backlog_is_none() {
        let bare = read(json!({"seq": 1, "address": null, "port": 3000, "addressType": 4})).unwrap();
        let full = json!({"seq": 1, "address": null, "port": 3000, "addressType": 4, "fd": null, "index": 0, "flags": null,
            "backlog": 0, "data": null});
        assert_eq!(read(full).unwrap(), bare);
        let with_callback = json!({"seq": 1, "address": null, "port": 3000, "addressType": 4, "backlog": false});
        assert_eq!(read(with_callback).unwrap(), bare);
    }

    #[test]
    fn field_of_unknown_form_is_no_query() {
        for (field, value) in [
            ("seq", json!(-1)),
            ("seq", json!(null)),
            ("address", json!(7)),
            ("port", json!("3000")),
            ("backlog", json!(true)),
            ("port", json!(1e30)),
            ("addressType", json!("udp5")),
            ("addressType", json!(5)),
            ("index", json!(-1)),
            ("flags", json!([])),
        ] {
            let mut message = json!({"seq": 1, "address": null, "port": 3000, "addressType": 4});
            message[field] = value.clone();
            assert_eq!(read(message), None, "{field}: {value}");
        }
    }
}
