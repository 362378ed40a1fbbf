//! Gets the state of the running master from its API.

use std::io::Write;
use std::path::Path;

use bytes::Bytes;

use super::client;
use crate::api::state::State;
use crate::failure::{Failure, code};
use crate::printable;

/// Returns the state, parsed and as received.
///
/// # Errors
///
/// With [`code::NO_MASTER`] if there is no master at `control`, [`code::FAILED`] if its answer cannot be parsed.
pub(super) fn fetch(control: &Path) -> Result<(State, Bytes), Failure> {
    let reply = client::get(control, "/api/v1/state")?;
    let failed = |cause: String| {
        let hint = "is another program listening there, or a master of another version?";
        Failure::new(code::FAILED, format!("the answer from {} is not a master's state", control.display()))
            .cause(cause)
            .hint(hint)
    };
    if reply.status != 200 {
        return Err(failed(format!("HTTP status {}", reply.status)));
    }
    let state: State = serde_json::from_slice(&reply.body).map_err(|error| failed(error.to_string()))?;
    if state.schema != State::SCHEMA {
        return Err(failed(format!(
            "its schema is `{}`, expected `{}`",
            printable::escape(&state.schema),
            State::SCHEMA
        )));
    }
    Ok((state, reply.body))
}

/// Writes an answer to standard output. Colours are removed if it is not a terminal.
///
/// # Errors
///
/// If it cannot be written; a reader that has closed the pipe (`| head -1`) is not an error.
pub(super) fn print(parts: &[&[u8]]) -> Result<(), Failure> {
    let mut out = anstream::stdout().lock();
    let written = parts.iter().try_for_each(|part| out.write_all(part)).and_then(|()| out.flush());
    match written {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Failure::new(code::FAILED, "cannot write to standard output").cause(error))
        }
        _ => Ok(()),
    }
}
