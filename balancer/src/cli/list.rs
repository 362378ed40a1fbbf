//! `roundelay list`: pools and workers, one line each.

mod table;

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use bytes::Bytes;

use super::client;
use crate::admin::view::State;
use crate::failure::{Failure, code};

/// Prints what the master at `control` says of its pools and workers; with `json` its own words, a
/// [`State`] on one line.
///
/// # Errors
///
/// With [`code::NO_MASTER`] if there is none, [`code::FAILED`] if its answer makes no sense.
pub(super) fn run(control: &Path, json: bool) -> Result<ExitCode, Failure> {
    let (state, received) = fetch(control)?;
    // As received: keys that this version does not know are kept.
    let printed = if json { print(&[&received, b"\n"]) } else { print(&[table::render(&state).as_bytes()]) };
    match printed {
        // The reader has seen enough (`| head -1`).
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(ExitCode::SUCCESS),
        Err(error) => Err(Failure::new(code::FAILED, "cannot write to standard output").cause(error)),
        Ok(()) => Ok(ExitCode::SUCCESS),
    }
}

/// The state, read and as received.
fn fetch(control: &Path) -> Result<(State, Bytes), Failure> {
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
        return Err(failed(format!("its schema is `{}`, expected `{}`", state.schema.escape_debug(), State::SCHEMA)));
    }
    Ok((state, reply.body))
}

/// Colours are left out where they would not be seen as such.
fn print(parts: &[&[u8]]) -> std::io::Result<()> {
    let mut out = anstream::stdout().lock();
    for part in parts {
        out.write_all(part)?;
    }
    out.flush()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::tests::{Server, pool};

    #[test]
    fn a_running_master_is_listed_by_socket_and_by_address() {
        let server = Server::start(vec![pool("api")]);
        for control in [server.control.clone(), format!("http://{}", server.port).into()] {
            let (state, received) = fetch(&control).unwrap();
            assert_eq!((state.pools[0].name.as_str(), state.pools[0].workers.len()), ("api", 2));
            assert_eq!(serde_json::from_slice::<serde_json::Value>(&received).unwrap()["schema"], State::SCHEMA);
            assert!(table::render(&state).contains("last exit: exit code 3, "));
        }
    }

    #[test]
    fn no_master_has_an_exit_code_of_its_own() {
        let failure = run(Path::new("/nowhere/control.sock"), true).unwrap_err();
        assert_eq!(failure.code, code::NO_MASTER);
        assert_eq!(failure.error, "no master is running (control socket /nowhere/control.sock: no such file)");
    }
}
