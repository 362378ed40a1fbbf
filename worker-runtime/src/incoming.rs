//! One `accept` for every way in which a worker may get its connections.

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

/// Where this worker's connections come from.
#[derive(Debug)]
pub(crate) enum Incoming {
    /// It listens.
    Listening(Listening),
    /// The master hands them over.
    Channel(Channel),
}

impl Incoming {
    /// As the environment says: the master's channel, else inherited sockets, else `PORT`. The end of a channel begins
    /// `draining`.
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

    /// The next connection. Cancel safe. Errors of one connection are skipped, exhausted descriptors waited out.
    pub(crate) async fn next(&mut self) -> io::Result<Stream> {
        match self {
            Self::Listening(sockets) => sockets.next().await,
            Self::Channel(channel) => Ok(channel.next().await),
        }
    }

    /// What is left to accept once nothing new shall come; `None` when that is nothing and the way in is closed. Cancel safe.
    pub(crate) async fn last(&mut self) -> Option<Stream> {
        match self {
            Self::Listening(sockets) => sockets.last().await,
            Self::Channel(channel) => channel.last().await,
        }
    }

    /// Closes the way in although nobody accepts what may wait there. A worker that has accepted until `None` loses nothing.
    pub(crate) async fn close(&mut self) {
        match self {
            Self::Listening(sockets) => while sockets.last().await.is_some() {},
            Self::Channel(channel) => channel.close(),
        }
    }

    /// Waits until the master has been told whatever it wants to know of the connections that it handed over.
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
