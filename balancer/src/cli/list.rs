//! `roundelay list`: pools and workers, one line each; in a narrow terminal a note stands below its line.

mod fit;
mod layout;
mod table;

use std::path::Path;
use std::process::ExitCode;

use super::state;
use crate::failure::Failure;

/// Prints what the master at `control` says of its pools and workers; with `json` its own words, a
/// [`State`](crate::api::state::State) on one line.
///
/// # Errors
///
/// With [`code::NO_MASTER`](crate::failure::code::NO_MASTER) if there is none,
/// [`code::FAILED`](crate::failure::code::FAILED) if its answer makes no sense.
pub(super) fn run(control: &Path, json: bool) -> Result<ExitCode, Failure> {
    let (state, received) = state::fetch(control)?;
    // As received: keys that this version does not know are kept.
    match json {
        true => state::print(&[&received, b"\n"])?,
        false => state::print(&[table::render(&state, terminal_width()).as_bytes()])?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Returns the columns of the terminal that standard output is; `None` where it is none. One that does not say how wide it is
/// (a serial line) has 80, as for other programs.
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
