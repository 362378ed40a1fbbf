//! One question to a socket of ours: how much of what it was given has not arrived.

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
