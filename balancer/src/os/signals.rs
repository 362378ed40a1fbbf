//! The signal dispositions and the mask that this process was started with.
//!
//! A process inherits from its starter which signals are ignored and which are blocked. `nohup` ignores SIGHUP on
//! purpose, so that is kept. A blocked SIGTERM or an ignored SIGCHLD is an accident of the starter: the master could
//! not be stopped, or would not learn how its workers end.

#![allow(unsafe_code)]

/// The highest signal number on Linux.
const LAST: libc::c_int = 64;

/// Unblocks every signal for this process and its children, and resets SIGCHLD so that dead children stay to be reaped.
///
/// Call it before the first thread is made, since a thread inherits the mask of the thread that makes it.
pub fn unblock() {
    // SAFETY: an empty signal set is made in memory of ours and installed; SIG_DFL installs no handler.
    unsafe {
        let mut none: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut none);
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut());
        libc::signal(libc::SIGCHLD, libc::SIG_DFL);
    }
}

/// Returns true if the signal is ignored now.
pub fn is_ignored(signal: libc::c_int) -> bool {
    // SAFETY: without a new action the call only reads the present one, into memory of ours.
    unsafe {
        let mut now: libc::sigaction = std::mem::zeroed();
        libc::sigaction(signal, std::ptr::null(), &raw mut now) == 0 && now.sa_sigaction == libc::SIG_IGN
    }
}

/// Gives every signal its default action and blocks none. A worker that inherits an ignored SIGTERM from the starter of
/// its master would ignore its stop signal.
pub fn reset() {
    for signal in 1..=LAST {
        // SAFETY: SIG_DFL installs no handler. SIGKILL, SIGSTOP and the numbers that the C library keeps are refused.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
    unblock();
}
