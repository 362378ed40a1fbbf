//! Encodes the lines that we write, byte for byte as Node's primary does. Pure.

use std::net::SocketAddr;

use bytes::Bytes;
use serde_json::{Value, json};

use super::query::Answer;

/// Acknowledges a descriptor of the worker.
pub(super) const CAME: &[u8] = b"{\"cmd\":\"NODE_HANDLE_ACK\"}\n";
/// Says that the worker's line arrived but its descriptor did not: the worker should send both again.
pub(super) const CAME_NOT: &[u8] = b"{\"cmd\":\"NODE_HANDLE_NACK\"}\n";
/// A line that claims to carry a descriptor but has none. Node itself answers that the descriptor is missing, as soon as
/// its event loop runs, so the app has no part in the answer. Even with a descriptor it would have no effect: its content
/// is not a message that Node knows.
pub(super) const PING: &[u8] =
    b"{\"cmd\":\"NODE_HANDLE\",\"type\":\"net.Native\",\"msg\":{\"cmd\":\"NODE_ROUNDELAY_PING\"}}\n";

/// Returns any message as its line.
pub(super) fn line(message: &Value) -> Bytes {
    let mut line = message.to_string();
    line.push('\n');
    line.into()
}

/// A client for the server of this key. The client's socket goes along.
pub(super) fn newconn(key: &str, seq: u64) -> Bytes {
    with_socket(json!({"cmd": "NODE_CLUSTER", "act": "newconn", "key": key, "seq": seq}))
}

/// Tells the worker to finish its connections and exit.
pub(super) fn disconnect(seq: u64) -> Bytes {
    line(&json!({"cmd": "NODE_CLUSTER", "act": "disconnect", "seq": seq}))
}

/// A reply without content, for queries that only want a reply.
pub(super) fn ack(ack: u64, seq: u64) -> Bytes {
    line(&json!({"cmd": "NODE_CLUSTER", "ack": ack, "seq": seq}))
}

/// The answer to query `ack`. A listening socket goes along if the answer is [`Answer::Shared`].
pub(super) fn answer(answer: &Answer, ack: u64, seq: u64) -> Bytes {
    match answer {
        Answer::RoundRobin { key, sockname, data } => {
            let mut reply = reply(Value::Null, key, data, ack, seq);
            if let Some(sockname) = sockname {
                reply["sockname"] = self::sockname(*sockname);
            }
            line(&reply)
        }
        // Node's own primary sends 0 here, we send null. With 0 a worker compares the socket's port with the port that
        // it asked for and fails with "in use" if they differ; but a mapped listener may have any port.
        Answer::Shared { key, data, .. } => with_socket(reply(Value::Null, key, data, ack, seq)),
        Answer::Refused { errno, key } => {
            // Any other number would be no error to the worker, or would end it.
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
