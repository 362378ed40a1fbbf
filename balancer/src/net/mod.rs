//! Public listeners, the relay that copies both ways, the preamble that it sends first, the open connections of a
//! thread, and the recovery of those that a dead worker left unread.
//!
//! Nothing here knows pools, strategies or retries; [`crate::dispatch`] does.

pub(crate) mod connect;
pub mod group;
pub mod listeners;
pub(crate) mod open_connections;
pub(crate) mod preamble;
pub(crate) mod proxy_header;
pub mod public;
pub(crate) mod recovery;
pub(crate) mod relay;
pub(crate) mod stream;
