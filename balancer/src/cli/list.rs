//! `roundelay list`: pools and workers, one line each; in a narrow terminal a note goes below its line.

mod fit;
mod layout;
mod table;

use std::path::Path;
use std::process::ExitCode;

use super::state;
use crate::failure::Failure;

/// Prints the pools and workers of the master at `control`. With `json` it prints the answer of the master, a
/// [`State`](crate::api::state::State) on one line.
///
/// # Errors
///
/// With [`code::NO_MASTER`](crate::failure::code::NO_MASTER) if there is none,
/// [`code::FAILED`](crate::failure::code::FAILED) if its answer cannot be read.
pub(super) fn run(control: &Path, json: bool) -> Result<ExitCode, Failure> {
    let (state, received) = state::fetch(control)?;
    // JSON is printed as received, so that keys which this version does not know are kept.
    match json {
        true => state::print(&[&received, b"\n"])?,
        false => state::print(&[table::render(&state, terminal_width()).as_bytes()])?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Returns the width of the terminal at standard output; `None` if it is not a terminal. A terminal without a known
/// width (a serial line) counts as 80 columns, as in other programs.
fn terminal_width() -> Option<usize> {
    const UNSAID: usize = 80;
    let size = rustix::termios::tcgetwinsize(std::io::stdout()).ok()?;
    Some(if size.ws_col == 0 { UNSAID } else { usize::from(size.ws_col) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::tests::{Server, pool};
    use crate::api::state::State;
    use crate::failure::code;

    #[test]
    fn running_master_is_listed_by_socket_and_by_address() {
        let server = Server::start(vec![pool("api")]);
        for control in [server.control.clone(), format!("http://{}", server.port).into()] {
            let (state, received) = state::fetch(&control).unwrap();
            assert_eq!((state.pools[0].name.as_str(), state.pools[0].workers.len()), ("api", 2));
            assert_eq!(serde_json::from_slice::<serde_json::Value>(&received).unwrap()["schema"], State::SCHEMA);
            assert!(table::render(&state, None).contains("last exit: exit code 3, "));
        }
    }

    #[test]
    fn no_master_has_an_exit_code_of_its_own() {
        let failure = run(Path::new("/nowhere/control.sock"), true).unwrap_err();
        assert_eq!(failure.code, code::NO_MASTER);
        assert_eq!(failure.error, "no master is running (control socket /nowhere/control.sock: no such file)");
    }
}
