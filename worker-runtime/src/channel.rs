//! The channel of a worker that gets its connections from the master: see
//! [`protocol::packet`](crate::protocol::packet).
//!
//! Two kinds of task read the channel: the accept loop, through [`Channel`], for connections, and tasks that receive
//! messages. Each of them leaves the other's packets in the [`Link`]. Only the accept loop answers, because an answer
//! shows that the accept loop is running. Packets that the socket does not take at once wait in the [`outbox`]. The
//! [`driver`] empties the outbox, reports connections that have ended, and refuses connections that arrive after the
//! accept loop has ended.

mod driver;
mod inbox;
mod link;
#[cfg(feature = "messages")]
mod mailbox;
mod outbox;
mod receive;
#[cfg(test)]
pub(crate) mod tests;

use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use tokio::task::coop::consume_budget;

use crate::draining::Draining;
use crate::error::StartError;
use crate::fds;
use crate::listener::Endpoint;
use crate::protocol::{FIRST_LISTEN_FD, ROUNDELAY_CHANNEL_FD};
use crate::stream::Stream;

pub(crate) use link::{Ending, Link};
#[cfg(feature = "messages")]
pub(crate) use mailbox::PostError;

/// The channel as the accept loop uses it.
#[derive(Debug)]
pub(crate) struct Channel {
    link: Arc<Link>,
}

impl Channel {
    /// Returns the channel that the environment names, or `None` if it names none. The end of the channel begins
    /// `draining`.
    pub(crate) fn inherited(
        lookup: &impl Fn(&str) -> Option<OsString>,
        draining: &Draining,
    ) -> Result<Option<Self>, StartError> {
        let Some(value) = lookup(ROUNDELAY_CHANNEL_FD).filter(|value| !value.is_empty()) else { return Ok(None) };
        let number = value.to_str().and_then(|value| value.parse().ok());
        let number = number.filter(|number| i32::from(*number) >= FIRST_LISTEN_FD);
        let number = number.ok_or_else(|| {
            StartError::variable(ROUNDELAY_CHANNEL_FD, &value, "the number of a descriptor, 3 or more")
        })?;
        Self::over(fds::take_channel(number)?, draining).map(Some).map_err(StartError::Channel)
    }

    /// Uses this unix socket of packets as the channel. Must be called in a runtime, in which a task drives the
    /// channel.
    pub(crate) fn over(fd: OwnedFd, draining: &Draining) -> io::Result<Self> {
        rustix::io::ioctl_fionbio(&fd, true)?;
        let link = Arc::new(Link::over(fd, draining.clone())?);
        tokio::spawn(driver::drive(Arc::clone(&link)));
        Ok(Self { link })
    }

    /// Returns `None` once the channel is closed.
    pub(crate) fn endpoint(&self) -> Option<Endpoint> {
        (!self.link.is_closed()).then_some(Endpoint::Channel)
    }

    /// Returns the next connection. If the channel has ended this never returns, but then the worker drains. Cancel
    /// safe.
    pub(crate) async fn next(&mut self) -> Stream {
        loop {
            // Without this, a master that never stops sending would keep the runtime's other tasks from running.
            consume_budget().await;
            if let Some(stream) = self.link.next_taken() {
                return stream;
            }
            tokio::select! {
                biased;
                () = self.link.arrivals.notified() => self.link.answer(),
                () = self.link.when_readable(|| self.link.turn()), if self.link.reads_on() => {}
            }
        }
    }

    /// Returns a connection that the master handed over before the drain. Returns `None` when the kernel's queue is
    /// empty and the channel is closed. Cancel safe.
    pub(crate) async fn last(&mut self) -> Option<Stream> {
        while !self.link.is_closed() {
            consume_budget().await;
            if let Some(stream) = self.link.next_taken() {
                return Some(stream);
            }
            if self.link.is_blocked() {
                self.link.arrivals.notified().await;
            } else if self.link.turn() && !self.link.has_taken() {
                self.close();
            }
        }
        None
    }

    /// Closes the channel: connections are refused from now on.
    pub(crate) fn close(&self) {
        self.link.close();
    }

    /// Waits until every packet has been sent, or the master is gone.
    pub(crate) async fn tell_all(&self) {
        self.link.write_out().await;
    }

    #[cfg(feature = "messages")]
    pub(crate) fn link(&self) -> Arc<Link> {
        Arc::clone(&self.link)
    }
}

impl Drop for Channel {
    fn drop(&mut self) {
        self.close();
    }
}
