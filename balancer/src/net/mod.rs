//! Public listeners, the relay that copies both ways, what it says first, and the open connections of a thread.
//!
//! Nothing here knows pools, strategies or retries; [`crate::dispatch`] does.

pub(crate) mod conns;
pub(crate) mod direction;
pub mod listeners;
pub(crate) mod preface;
pub(crate) mod proxy_header;
pub(crate) mod relay;
pub(crate) mod stream;
