//! From the public listener to the end of a connection: accept, pick, connect, relay, retry.
//!
//! T data threads, each a single-threaded runtime with its own accept loop on a clone of the *same* listening socket; a
//! connection never changes thread. A permit is taken before accept, so surplus waits in the kernel's backlog and not
//! in our memory.
//!
//! Where the workers accept by themselves, none of this happens. Only a client that waits in a queue from which no
//! worker accepts is relayed to the public address.
//!
//! Pools and listeners may come and go while the threads run. Open connections go on.
//!
//! # The way of a connection
//!
//! | file | what happens there |
//! |---|---|
//! | `accept.rs`, `accept/batch.rs` | the loop waits for a client, takes a permit, *then* accepts |
//! | `relayed/mod.rs` | the connection's stages; it picks a worker and starts to connect before it is a task |
//! | `relayed/connect.rs` | on a failure: the search (`search.rs`) and the connect to the next worker |
//! | `relayed/relaying.rs` | the relay, and the delivery of the worker's last bytes |
//! | `relayed/recover.rs` | a worker died before it read anything: its bytes are read back, and the search begins again |
//! | `record.rs` | the end is counted once, and the permit is given back |
//!
//! In mode `handoff`, `handed.rs` stands for the files of `relayed/`.
//!
//! The one upward path is an [`UpstreamReport`], which a data thread gives to the supervisor of the pool.

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
