//! The limit on the size of files (`RLIMIT_FSIZE`, systemd's `LimitFSIZE`).

#![allow(unsafe_code)]

/// Makes a write beyond the limit fail with `EFBIG` on the calling thread. By default the kernel also sends SIGXFSZ,
/// which ends the whole process; a full log must not end the master.
pub fn refuse_instead_of_signal() {
    // SAFETY: the set is ours and is emptied before it is used. The call changes only this thread's mask, and a thread
    // that starts no processes passes its mask on to none.
    unsafe {
        let mut signals = std::mem::zeroed::<libc::sigset_t>();
        libc::sigemptyset(&raw mut signals);
        libc::sigaddset(&raw mut signals, libc::SIGXFSZ);
        libc::pthread_sigmask(libc::SIG_BLOCK, &raw const signals, std::ptr::null_mut());
    }
}
