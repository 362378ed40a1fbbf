//! The harness: measures every way to distribute connections side by side with the user's own program, and injects
//! every fault that a server must survive.
//!
//! It uses `roundelay` as its users do, by the command line. `roundelay compare`, `report` and `drill` are commands of
//! this library; the binary only passes its [`subject::Product`] to it.
//!
//! # The map
//!
//! A module uses what stands above it in this list and its own folder. The pure ones open no sockets and read no clock.
//!
//! | module | what it is | |
//! |---|---|---|
//! | `failure` | the failure of a command, and exit codes; the balancer's too, so it stands in `balancer/text/` | pure |
//! | `interrupt` | Ctrl-C | |
//! | `limits` | the limit of open files of this process | |
//! | `subject` | the binary under test, and the user's program | pure |
//! | `record` | the results: `report.json` | pure |
//! | `plan` | scenarios, and the order of measurements | pure |
//! | `analysis` | medians, intervals, verdicts, assertions | pure |
//! | `load` | the generator | |
//! | `setup` | a way, set up with fresh workers | |
//! | `measure` | one repetition: a setup under load, with processor time and memory | |
//! | `report` | terminal, HTML with plots, Markdown, CSV | pure |
//! | `compare` | the command: the whole plan, progress, files | |
//! | `drill` | faults under checked load: promises, allowed failures, observations | |

pub mod analysis;
pub mod compare;
pub mod drill;
pub mod interrupt;
mod limits;
pub mod load;
pub mod measure;
pub mod plan;
pub mod record;
pub mod report;
pub mod setup;
pub mod subject;

pub use roundelay_text::failure;
