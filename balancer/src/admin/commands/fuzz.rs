//! Any bytes as the body of a command, for the fuzz targets of `tests/fuzz/`.

use super::ControlCommand;
use super::body::{message, on_pool, reload, shutdown};
use crate::pool::operation::OperationKind;

/// Reads any body as that of each command.
pub fn body(bytes: &[u8]) {
    let Some((&choice, body)) = bytes.split_first() else { return };
    let kinds = OperationKind::ALL;
    let command = match usize::from(choice) % (kinds.len() + 3) {
        0 => reload(body),
        1 => shutdown(body),
        2 => message("app", body),
        kind => on_pool(kinds[kind - 3], "app", body),
    };
    match command {
        Ok(ControlCommand::Scale { workers, .. }) => {
            let resolved = workers.resolve(2, 4);
            assert!(resolved.as_ref().map_or(true, |count| *count >= 1), "{workers} gives {resolved:?}");
        }
        Ok(ControlCommand::Message { message, .. }) => {
            let value: Result<serde::de::IgnoredAny, _> = serde_json::from_str(&message.json);
            assert!(value.is_ok(), "a message that is no JSON: {}", message.json);
        }
        _ => {}
    }
}
