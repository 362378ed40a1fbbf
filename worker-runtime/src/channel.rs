//! The channel of a worker that is handed its connections: see [`protocol::packet`](crate::protocol::packet).
//!
//! Whoever waits for something from the master reads the channel: [`Channel`] for connections, and who receives messages.
//! Both leave with the [`Link`] what is the other's. Only the accept loop answers, because the answers say that it turns.
//! What the socket does not take at once waits in the [`outbox`], which the [`driver`] empties; it also reports the
//! connections that have ended, and refuses those that come after the accept loop's end.

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

/// The accept loop's end of a channel.
#[derive(Debug)]
pub(crate) struct Channel {
    link: Arc<Link>,
}

impl Channel {
    /// The one that the environment names, if it names one. Its end begins `draining`.
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

    /// One over this unix socket of packets; needs a runtime, on which a task keeps it.
    pub(crate) fn over(fd: OwnedFd, draining: &Draining) -> io::Result<Self> {
        rustix::io::ioctl_fionbio(&fd, true)?;
        let link = Arc::new(Link::over(fd, draining.clone())?);
        tokio::spawn(driver::drive(Arc::clone(&link)));
        Ok(Self { link })
    }

    /// `None` once it is closed.
    pub(crate) fn endpoint(&self) -> Option<Endpoint> {
        (!self.link.is_closed()).then_some(Endpoint::Channel)
    }

    /// The next connection. Cancel safe. Never, if the channel has ended; but then the worker drains.
    pub(crate) async fn next(&mut self) -> Stream {
        loop {
            // A master that never rests would keep the runtime's other tasks from running.
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

    /// What was handed over before nothing more shall come; `None` when the kernel's queue is empty and the channel closed.
    /// Cancel safe.
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

    /// From now on connections are refused.
    pub(crate) fn close(&self) {
        self.link.close();
    }

    /// Waits until everything that was to be said is said, or the master is gone.
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
