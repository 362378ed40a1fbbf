//! The limit on the size of files (`RLIMIT_FSIZE`, systemd's `LimitFSIZE`).

#![allow(unsafe_code)]

/// Lets a write beyond the limit fail with `EFBIG` on the calling thread. Otherwise the kernel also sends SIGXFSZ, which
/// ends the whole process: no reason for a master to end is a log that is full.
pub fn refuse_instead_of_signal() {
    // SAFETY: the set is ours and made empty before anything else is done with it. Only this thread's mask changes, and a
    // thread that starts no processes hands it on to nobody.
    unsafe {
        let mut signals = std::mem::zeroed::<libc::sigset_t>();
        libc::sigemptyset(&raw mut signals);
        libc::sigaddset(&raw mut signals, libc::SIGXFSZ);
        libc::pthread_sigmask(libc::SIG_BLOCK, &raw const signals, std::ptr::null_mut());
    }
}
