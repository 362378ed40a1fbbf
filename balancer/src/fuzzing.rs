//! Entry points of the fuzz targets in `tests/fuzz/`, one for each private parser of bytes from outside.
//!
//! Each may be called with any bytes. It panics if the parser does, or if the result breaks a rule that it states.

/// The body of a command on the control socket; the first byte chooses the command.
pub use crate::admin::commands::fuzz::body as control_command;
/// The kernel's answer to a question about sockets.
pub use crate::os::accept_queue::fuzz as sock_diag;
/// The output of a worker, in pieces.
pub use crate::output::fuzz as worker_output;
/// A worker's answer to a health check.
pub use crate::supervisor::fuzz::health_answer;
/// A datagram at `NOTIFY_SOCKET`.
pub use crate::supervisor::fuzz::notify;

/// Files of `/proc`, and of `/etc` that name users and ports.
pub fn system_files(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    crate::os::accepts::fuzz(&text);
    crate::os::account::fuzz(&text);
    crate::os::memory::fuzz(&text);
    crate::os::ports::fuzz(&text);
}
