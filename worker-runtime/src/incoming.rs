//! One `accept` for all sources of a worker's connections.

mod listening;

use std::ffi::OsString;
use std::io;
#[cfg(feature = "messages")]
use std::sync::Arc;

use crate::channel::Channel;
use crate::draining::Draining;
use crate::error::StartError;
use crate::listener::Endpoint;
use crate::stream::Stream;

use listening::Listening;

/// The source of this worker's connections.
#[derive(Debug)]
pub(crate) enum Incoming {
    /// The worker listens.
    Listening(Listening),
    /// The master hands them over.
    Channel(Channel),
}

impl Incoming {
    /// Opens the source that the environment names: the master's channel, else inherited sockets, else `PORT`. The end
    /// of a channel begins `draining`.
    pub(crate) async fn open(
        lookup: &impl Fn(&str) -> Option<OsString>,
        draining: &Draining,
    ) -> Result<Self, StartError> {
        match Channel::inherited(lookup, draining)? {
            Some(channel) => Ok(Self::Channel(channel)),
            None => Listening::open(lookup).await.map(Self::Listening),
        }
    }

    pub(crate) fn endpoints(&self) -> io::Result<Vec<Endpoint>> {
        match self {
            Self::Listening(sockets) => sockets.endpoints(),
            Self::Channel(channel) => Ok(channel.endpoint().into_iter().collect()),
        }
    }

    /// Returns the next connection. Skips errors of one connection, and waits while descriptors have run out. Cancel
    /// safe.
    pub(crate) async fn next(&mut self) -> io::Result<Stream> {
        match self {
            Self::Listening(sockets) => sockets.next().await,
            Self::Channel(channel) => Ok(channel.next().await),
        }
    }

    /// Returns a connection that is still waiting when the worker drains. Returns `None` when no connection is left and
    /// the source is closed. Cancel safe.
    pub(crate) async fn last(&mut self) -> Option<Stream> {
        match self {
            Self::Listening(sockets) => sockets.last().await,
            Self::Channel(channel) => channel.last().await,
        }
    }

    /// Closes the source, and with it connections that wait there. A worker that accepted until `None` loses none.
    pub(crate) async fn close(&mut self) {
        match self {
            Self::Listening(sockets) => while sockets.last().await.is_some() {},
            Self::Channel(channel) => channel.close(),
        }
    }

    /// Waits until the master has been told of the ends of all connections that it handed over.
    pub(crate) async fn tell_all(&self) {
        match self {
            Self::Listening(_) => {}
            Self::Channel(channel) => channel.tell_all().await,
        }
    }

    #[cfg(feature = "messages")]
    pub(crate) fn link(&self) -> Option<Arc<crate::channel::Link>> {
        match self {
            Self::Listening(_) => None,
            Self::Channel(channel) => Some(channel.link()),
        }
    }
}
