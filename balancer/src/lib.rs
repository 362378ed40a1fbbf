//! Roundelay: the public entrypoint of a server.
//!
//! One master owns the public port, keeps N worker processes of any program alive behind it and hands every client
//! connection to one of them.
//!
//! # The map
//!
//! A module may use what stands above it in this list (and its own folder), never what stands below.
//!
//! | module | what it is |
//! |---|---|
//! | [`failure`] | what a command says when it gives up |
//! | [`printable`] | pure: text from outside, made safe to print |
//! | [`os`] | the kernel, safely: forking and reaping, the `exec-worker` shim, the users that workers run as, the guardian, the owners of listeners |
//! | [`stats`] | counters that outlive a process, histograms per thread, how a connection ended |
//! | [`mode`] | pure: the ways of distribution as one table |
//! | [`rotation`] | the workers that may be picked right now: `Upstream`, `Lease`, the published snapshot |
//! | [`strategy`] | which of them is picked |
//! | [`config`] | every option once; file < environment < flags; all problems at once |
//! | [`pool`] | what all parts share about one application |
//! | [`net`] | public listeners, the relay that copies both ways, the open connections of a thread |
//! | [`channel`] | a worker's control channel: sockets that are handed over, and what is said of them |
//! | [`dispatch`] | accept, pick, then connect, relay and retry, or hand over |
//! | [`output`] | what workers write: to our own streams or a log file a pool, never in their way |
//! | [`supervisor`] | one slot as a pure state machine, and the task that applies what it decides |
//! | [`api`] | the shapes of the control API's JSON, and how its values are written |
//! | [`admin`] | health, metrics and state over HTTP, on two listeners; commands on one of them |
//! | [`app`] | wiring, the order of start and stop, the controller that carries out commands, the public listeners that come and go |
//! | [`cli`] | flags, the commands that ask a running master or command it, exit codes |
//!
//! # The words
//!
//! A *pool* is one application: a listener and its workers. A *slot* is a worker's stable number in it (0..N-1), an
//! *incarnation* one process in that slot, a *generation* what a reload bumps. *Rotation* is the set of workers that may
//! be picked right now; a *lease* is one connection's hold on the worker it was given to. *Ready* is said once by a
//! worker, *healthy* is our changing opinion of it.
//!
//! # The way of one connection
//!
//! [`dispatch`] takes a permit, *then* accepts: surplus waits in the kernel's backlog. The picker takes a lease from the
//! current snapshot. The connection's future connects (another worker is tried as long as no client byte was written),
//! then [`net`] copies both ways. When both ends are closed the lease drops, the outcome is counted and the permit
//! returns.

pub mod admin;
pub mod api;
pub mod app;
pub mod channel;
pub mod cli;
pub mod config;
pub mod dispatch;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
pub mod mode;
pub mod net;
pub mod os;
pub mod output;
pub mod pool;
pub mod rotation;
pub mod stats;
pub mod strategy;
pub mod supervisor;

pub use roundelay_text::{failure, printable};
