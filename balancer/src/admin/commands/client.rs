//! Tells if the client of a control command still waits for its answer.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// The client's side of the connection that a control command came on.
#[derive(Clone, Debug, Default)]
pub struct CommandClient(Option<Arc<OwnedFd>>);

impl CommandClient {
    /// Keeps a duplicate of this unix connection, to look at its other end later. If no descriptor is free for the
    /// duplicate, the client counts as waiting.
    pub(in crate::admin) fn of(stream: &impl AsFd) -> Self {
        Self(rustix::io::fcntl_dupfd_cloexec(stream, 0).ok().map(Arc::new))
    }

    /// Returns true if the client has closed its connection. A client that only shut down its sending side, as `nc -N`
    /// does, still reads.
    pub fn is_gone(&self) -> bool {
        let Some(stream) = &self.0 else { return false };
        let mut polled = [PollFd::new(&**stream, PollFlags::empty())];
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        poll(&mut polled, Some(&now)).is_ok() && polled[0].revents().intersects(PollFlags::HUP | PollFlags::ERR)
    }
}

#[cfg(test)]
mod tests {
    use std::net::Shutdown;
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn closed_client_is_gone_and_a_half_closed_one_is_not() {
        let (client, server) = UnixStream::pair().unwrap();
        let waits = CommandClient::of(&server);
        assert!(!waits.is_gone() && !CommandClient::default().is_gone());
        client.shutdown(Shutdown::Write).unwrap();
        assert!(!waits.is_gone());
        drop(client);
        assert!(waits.is_gone());
    }
}
