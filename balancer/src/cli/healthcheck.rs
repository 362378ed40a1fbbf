//! `roundelay healthcheck`: an exit code that says if the master is ready, for images without a shell.

use std::path::Path;
use std::process::ExitCode;

use super::client;
use crate::api::format;
use crate::failure::{Failure, code};

/// Succeeds if the master at `control` is ready.
///
/// # Errors
///
/// With [`code::FAILED`] and the master's reason if it is not, [`code::NO_MASTER`] if there is none.
pub(super) fn run(control: &Path) -> Result<ExitCode, Failure> {
    let reply = client::get(control, "/readyz")?;
    if reply.status == 200 {
        return Ok(ExitCode::SUCCESS);
    }
    let reason = String::from_utf8_lossy(&reply.body);
    let reason: Vec<String> = reason.lines().map(format::escape).collect();
    let reason = match reply.status {
        503 => reason.join("; "),
        status => format!("it answered with HTTP status {status}"),
    };
    Err(Failure::new(code::FAILED, "the master is not ready").cause(reason))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::tests::{Server, pool, publish};
    use crate::pool::SlotState;

    #[test]
    fn exit_code_is_the_health() {
        let server = Server::start(vec![pool("api"), pool("jobs")]);
        assert_eq!(run(&server.control), Ok(ExitCode::SUCCESS));

        for pool in &server.pools {
            publish(pool, |status| status.workers[0].state = SlotState::Failed);
        }
        let failure = run(&server.control).unwrap_err();
        assert_eq!(failure.code, code::FAILED);
        let reason = "pool api: down, 0 of 2 workers ready, 1 needed (1 backoff, 1 failed); pool jobs: down, 0 of 2";
        assert!(failure.cause.as_ref().unwrap().starts_with(reason), "{failure}");

        assert_eq!(run(Path::new("/nowhere/control.sock")).unwrap_err().code, code::NO_MASTER);
    }
}
