//! Queries the master's control socket without starting a process: under load, a command would cost the measured way
//! processor time that other ways do not pay.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// The longest time for an answer; a master that needs longer is stuck.
const PATIENCE: Duration = Duration::from_secs(10);

/// Returns the body of the answer to a `GET`.
///
/// # Errors
///
/// Nothing listens there, no answer comes in time, or its status is not 200.
pub(super) fn get(socket: &Path, path: &str) -> io::Result<String> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    match answer.split_once("\r\n\r\n") {
        Some((head, body)) if head.starts_with("HTTP/1.1 200 ") => Ok(body.to_owned()),
        _ => {
            let status = answer.lines().next().unwrap_or("nothing");
            Err(io::Error::other(format!("{} answered {path} with `{status}`", socket.display())))
        }
    }
}
