//! The signal that asks a worker to end: which processes of its group get it, and when its group is empty.
//!
//! `targets` decides (pure), `group` looks at the processes, `stop` is the state of one stop, kept by the spawner.

mod group;
mod stop;
mod targets;

pub use group::is_survived;
pub(super) use group::read;
pub(super) use stop::Stop;
