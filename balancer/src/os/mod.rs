//! The kernel, safely.
//!
//! With `worker-runtime`'s `fds.rs` the only place for `unsafe`. Everything that forks, waits or reaps lives in
//! [`spawner`]: the parent-death signal follows the forking *thread*, and a `waitpid` elsewhere would steal statuses.

pub mod accept_queue;
pub mod accepts;
pub mod account;
pub mod activation;
pub mod child;
#[cfg(test)]
mod child_group;
pub mod duplicate;
pub mod file_size;
pub mod guardian;
pub mod inspect;
pub mod limits;
pub mod memory;
pub mod peer;
pub mod pidfd;
pub mod ports;
pub mod reuseport_bpf;
pub mod run_dir;
pub mod shim;
pub mod signals;
pub mod socket_buffers;
pub mod source_address;
pub mod spawner;
pub mod start_dir;
pub mod stop_signal;
pub(crate) mod unrunnable;
pub mod worker_socket;
