//! From the public listener to the end of a connection: accept, pick, connect, relay, retry.
//!
//! T data threads, each a single-threaded runtime with its own accept loop on a clone of the *same* listening socket; a
//! connection never changes thread. A permit is taken before accept, so surplus waits in the kernel's backlog and not in
//! our memory.
//!
//! Where the workers accept by themselves nothing of this happens, but for a client that waits where no worker does: it
//! takes a detour.
//!
//! Pools and listeners may come and go while the threads run; what is open is not touched by that.
//!
//! The one upward path is a [`Report`] to the supervisor.

mod accept;
mod connect;
mod connection;
mod detour;
mod handoff;
mod lane;
mod per_source;
mod permits;
mod served;
mod threads;

pub use detour::{Client, Detour};
pub use lane::Report;
pub use served::PUBLIC_DOOR;
pub use threads::{DataThreads, Drained, Limits};
