//! From the public listener to the end of a connection: accept, pick, connect, relay, retry.
//!
//! T data threads, each a single-threaded runtime with its own accept loop on a clone of the *same* listening socket; a
//! connection never changes thread. A permit is taken before accept, so surplus waits in the kernel's backlog and not
//! in our memory.
//!
//! Where the workers accept by themselves nothing of this happens, but for a client that waits where no worker does: it
//! is relayed to the public address.
//!
//! Pools and listeners may come and go while the threads run; what is open is not touched by that.
//!
//! The one upward path is a [`UpstreamReport`] to the supervisor.

mod accept;
mod handed;
mod per_source;
mod permits;
mod pools;
mod record;
mod relay_to_public;
mod relayed;
mod search;
mod shard;
mod threads;

pub use pools::PUBLIC_LISTENER;
pub use relay_to_public::{Client, PublicRelay};
pub use shard::UpstreamReport;
pub use threads::{DataThreads, Drained, Limits};
