//! Messages of the demo worker.

use std::io::Write;

use serde_json::{Value, json};

use crate::Messages;

/// Writes each message of the master to standard output and sends it back, until the worker drains.
pub(super) async fn echo(messages: Messages) {
    while let Some(message) = messages.recv::<Value>().await {
        let sent = message.and_then(|value| {
            let _ = writeln!(std::io::stdout(), "message: {value}");
            messages.send(&json!({ "echo": value }))
        });
        if let Err(error) = sent {
            let _ = writeln!(std::io::stderr(), "message not echoed: {error}");
        }
    }
}
