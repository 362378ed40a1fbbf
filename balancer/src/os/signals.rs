//! Signals as this process was started with them.
//!
//! A starter passes on which signals are ignored and which are blocked. `nohup` ignores SIGHUP on purpose, so that stays. A
//! blocked SIGTERM or an ignored SIGCHLD is an accident of the starter: the master could not be ended, or would not see
//! how its workers end.

#![allow(unsafe_code)]

/// The highest signal number on Linux.
const LAST: libc::c_int = 64;

/// Makes this process, and what it starts, receive every signal again, and SIGCHLD leave dead children to be reaped.
///
/// Called before the first thread is made, since a thread inherits the mask of the one that makes it.
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
    // SAFETY: with no new action the call only fills in the present one, in memory of ours.
    unsafe {
        let mut now: libc::sigaction = std::mem::zeroed();
        libc::sigaction(signal, std::ptr::null(), &raw mut now) == 0 && now.sa_sigaction == libc::SIG_IGN
    }
}

/// Gives every signal its default action and blocks none: a worker that inherits an ignored SIGTERM from the starter of its
/// master would not hear its stop signal.
pub fn reset() {
    for signal in 1..=LAST {
        // SAFETY: SIG_DFL installs no handler. SIGKILL, SIGSTOP and the numbers that the C library keeps are refused.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
    unblock();
}
