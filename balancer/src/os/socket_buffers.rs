//! The buffers of a socket of ours: the bytes that have not arrived at the peer, and the room for unread bytes.

#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsFd, AsRawFd};

/// The bytes that the peer's kernel has not acknowledged (TCP), or that the peer has not read (unix), by `SIOCOUTQ`.
///
/// # Errors
///
/// The descriptor is no stream socket.
pub fn unsent(socket: impl AsFd) -> io::Result<usize> {
    let mut bytes: libc::c_int = 0;
    // SAFETY: TIOCOUTQ (the same number as SIOCOUTQ) writes one int, to a place that lives as long as the call.
    let result = unsafe { libc::ioctl(socket.as_fd().as_raw_fd(), libc::TIOCOUTQ, &raw mut bytes) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(usize::try_from(bytes).unwrap_or(0))
}

/// Makes a TCP socket take up to `bytes` unread bytes, as far as the system allows. The kernel goes on tuning its
/// buffer, which it would not do after `SO_RCVBUF`.
///
/// The kernel makes room for a low-water mark when it is set, and keeps the room when the mark is taken back.
pub fn make_room(socket: impl AsFd, bytes: libc::c_int) {
    for mark in [bytes, 1] {
        set(&socket, libc::SOL_SOCKET, libc::SO_RCVLOWAT, mark);
    }
}

/// Takes back what [`make_room`] made beyond `bytes`; returns false where the kernel cannot (before Linux 5.14). What the
/// socket holds stays, and what its peer was told that it may send is taken.
///
/// `SO_RCVBUF` ends the kernel's tuning, and with it the room for what was promised to the peer: `SO_BUF_LOCK` has both go on.
/// `TCP_WINDOW_CLAMP` does not do: the kernel lifts it again when it measures the overhead of what arrives.
pub fn take_room_back(socket: impl AsFd, bytes: libc::c_int) -> bool {
    let unlock = || set(&socket, libc::SOL_SOCKET, libc::SO_BUF_LOCK, 0);
    if !unlock() || !set(&socket, libc::SOL_SOCKET, libc::SO_RCVBUF, bytes) || !unlock() {
        return false;
    }
    // `net.core.rmem_max` may have made it less.
    make_room(&socket, bytes);
    true
}

fn set(socket: &impl AsFd, level: libc::c_int, option: libc::c_int, value: libc::c_int) -> bool {
    let size = size_of::<libc::c_int>() as libc::socklen_t;
    let socket = socket.as_fd().as_raw_fd();
    // SAFETY: the options that are set here read one int, of that size, from a place that lives as long as the call.
    let result = unsafe { libc::setsockopt(socket, level, option, (&raw const value).cast(), size) };
    result == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;

    #[test]
    fn unread_bytes_count_until_the_peer_reads_them() {
        let (mut writes, mut reads) = UnixStream::pair().unwrap();
        assert_eq!(unsent(&writes).unwrap(), 0);
        writes.write_all(&[1; 100]).unwrap();
        assert!(unsent(&writes).unwrap() >= 100);
        reads.read_exact(&mut [0; 100]).unwrap();
        assert_eq!(unsent(&writes).unwrap(), 0);
        assert!(unsent(std::fs::File::open("/dev/null").unwrap()).is_err());
    }
}
