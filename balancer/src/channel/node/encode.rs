//! The lines that we write, byte for byte. Pure.

use std::net::SocketAddr;

use bytes::Bytes;
use serde_json::{Value, json};

use super::query::Answer;

/// A worker's descriptor has come.
pub(super) const CAME: &[u8] = b"{\"cmd\":\"NODE_HANDLE_ACK\"}\n";
/// A worker's line has come and its descriptor has not: send both again.
pub(super) const CAME_NOT: &[u8] = b"{\"cmd\":\"NODE_HANDLE_NACK\"}\n";
/// As if with a descriptor. Node says at once that it is missing, whatever the app does between two turns of its loop;
/// were there one, what is inside is none of the messages that Node knows.
pub(super) const PING: &[u8] =
    b"{\"cmd\":\"NODE_HANDLE\",\"type\":\"net.Native\",\"msg\":{\"cmd\":\"NODE_ROUNDELAY_PING\"}}\n";

/// Any message, as its line.
pub(super) fn line(message: &Value) -> Bytes {
    let mut line = message.to_string();
    line.push('\n');
    line.into()
}

/// A client for the server of this key. A socket goes along.
pub(super) fn newconn(key: &str, seq: u64) -> Bytes {
    with_socket(json!({"cmd": "NODE_CLUSTER", "act": "newconn", "key": key, "seq": seq}))
}

/// Finish and go.
pub(super) fn disconnect(seq: u64) -> Bytes {
    line(&json!({"cmd": "NODE_CLUSTER", "act": "disconnect", "seq": seq}))
}

/// A reply that says nothing but that it is one.
pub(super) fn ack(ack: u64, seq: u64) -> Bytes {
    line(&json!({"cmd": "NODE_CLUSTER", "ack": ack, "seq": seq}))
}

/// The answer to query `ack`. A socket goes along if it is [`Answer::Shared`].
pub(super) fn answer(answer: &Answer, ack: u64, seq: u64) -> Bytes {
    match answer {
        Answer::RoundRobin { key, sockname, data } => {
            let mut reply = reply(Value::Null, key, data, ack, seq);
            if let Some(sockname) = sockname {
                reply["sockname"] = self::sockname(*sockname);
            }
            line(&reply)
        }
        // Null, where Node's own primary says 0: at 0 a worker compares the socket's port with the one that it asked
        // for, and one of another port is "in use" to it. A mapped listener may have any port.
        Answer::Shared { key, data, .. } => with_socket(reply(Value::Null, key, data, ack, seq)),
        Answer::Refused { errno, key } => {
            // Anything but a negative number would be no error to the worker, or its end.
            let errno = if *errno > 0 { *errno } else { libc::EINVAL };
            line(&reply(json!(-errno), key, &Value::Null, ack, seq))
        }
    }
}

fn reply(errno: Value, key: &str, data: &Value, ack: u64, seq: u64) -> Value {
    json!({"cmd": "NODE_CLUSTER", "errno": errno, "key": key, "ack": ack, "data": data, "seq": seq})
}

fn sockname(address: SocketAddr) -> Value {
    let family = if address.is_ipv4() { "IPv4" } else { "IPv6" };
    json!({"address": address.ip().to_string(), "family": family, "port": address.port()})
}

fn with_socket(inner: Value) -> Bytes {
    line(&json!({"cmd": "NODE_HANDLE", "type": "net.Native", "msg": inner}))
}
