//! The data path, as a supervisor asks things of it: a trait, so that a test can stand in for it.

use std::os::fd::OwnedFd;

use crate::channel::Channel;
use crate::config::Address;
use crate::dispatch::Client;
use crate::net::listeners::Listener;
use crate::rotation::SlotId;

/// The connections of a pool's workers, as its supervisor needs them: the data path, or a test's double.
pub trait DataPath: Send + Sync {
    /// Ends the connections of a process that has exited: the data path still delivers the bytes that the process had
    /// sent, and resets connections that another process holds open. `recovered` are the worker's ends of the master's
    /// connections that waited in its accept queue, accepted from it: each of those connections goes to another worker
    /// with all that it had sent.
    fn worker_exited(&self, slot: SlotId, incarnation: u64, recovered: Vec<OwnedFd>);

    /// Takes back the connections that wait in the queue of a process that goes on running. `recovered` are the
    /// worker's ends of the master's connections, accepted from its listener. Each goes to another worker with all that
    /// it had sent.
    fn recall(&self, slot: SlotId, incarnation: u64, recovered: Vec<OwnedFd>);

    /// From now on closes, by FIN, each connection of that process that has no response pending and was silent for a
    /// second. A connection that has sent the worker nothing goes to another worker in rotation.
    fn close_idle(&self, slot: SlotId, incarnation: u64);

    /// Runs a worker's channel on the thread that hands its connections over.
    fn run_channel(&self, slot: SlotId, channel: Channel);

    /// Accepts on one more public listener; its clients are handed to the worker that listens there.
    ///
    /// # Errors
    ///
    /// If the listener cannot be watched, or another handle of it cannot be made.
    fn add_listener(&self, listener: Listener, listener_id: u32) -> std::io::Result<()>;

    /// Accepts the clients that wait at that listener and closes it.
    fn close_listener(&self, address: &Address);

    /// Ends the open connections of that process now: by FIN those that have no response pending, by reset the others.
    /// A connection that has sent the worker nothing goes to another worker in rotation.
    fn abort(&self, slot: SlotId, incarnation: u64);

    /// Accepts clients with `next` and relays each to the pool's public address number `address`, where workers accept
    /// by themselves. Stops when `next` returns `None` or a limit is reached. Returns how many. Blocks while `next`
    /// blocks.
    fn relay_to_public(&self, address: usize, next: &mut dyn FnMut() -> Option<Client>) -> usize;
}
