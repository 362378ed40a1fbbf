//! The limit on the size of files (`RLIMIT_FSIZE`, systemd's `LimitFSIZE`).

use nix::sys::signal::{SigSet, Signal};

/// Makes a write beyond the limit fail with `EFBIG` on the calling thread. By default the kernel also sends SIGXFSZ,
/// which ends the whole process; a full log must not end the master.
pub fn refuse_instead_of_signal() {
    // It fails only for a signal that does not exist.
    let _ = SigSet::from_iter([Signal::SIGXFSZ]).thread_block();
}
