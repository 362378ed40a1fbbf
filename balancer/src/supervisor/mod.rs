//! Keeps a pool's workers alive.
//!
//! Each pool has one task. Events and deadlines come in, the pure parts (`slot`, `listeners::hold`,
//! `operation::{roll, startup}`, `replacement_limit`) decide, effects go out, and the task publishes the changes. No other task changes the pool, so
//! membership, health and drain change together. Nothing here waits for a worker.
//!
//! | file | what it is |
//! |---|---|
//! | `handle` | what others ask of a pool |
//! | `data_path` | what a pool asks of the threads that carry connections |
//! | `actor` | the task: an input or a deadline in, the result published; its end |
//! | `input` | the inputs of the task |
//! | `workers` | the slots: gives one an event, and performs what it decides (`effects`) |
//! | `replace` | replaces a worker that still runs; on suspicion within `replacement_limit` |
//! | `slot/` | pure: what a slot decides |
//! | `worker/` | one slot's processes |
//! | `monitor` | samples queues, resources and `memory` at intervals |
//! | `operation/` | reload, scale, restart, stop, start |
//! | `listeners/` | the listeners that workers inherit or ask for, and the hold |
//! | `publish` | which workers are in rotation |
//! | `resources`, `budget` | what all pools share |

mod actor;
mod budget;
mod data_path;
mod effects;
mod handle;
mod input;
mod listeners;
mod memory;
mod monitor;
mod operation;
mod publish;
mod replace;
mod replacement_limit;
mod resources;
mod slot;
#[cfg(test)]
mod tests;
mod worker;
mod workers;

use input::{Input, WorkerEvent};

pub use budget::SpawnBudget;
pub use data_path::DataPath;
#[cfg(test)]
pub(crate) use handle::double;
pub use handle::{Shutdown, SupervisorHandle, SupervisorInputs, SupervisorTask, channel};
pub use operation::stop_report::StopReport;
pub use resources::Resources;
#[cfg(feature = "fuzzing")]
pub use worker::fuzz;
pub use worker::spec::DEMO_COMMAND;
