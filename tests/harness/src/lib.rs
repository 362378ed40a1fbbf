//! The harness: every way to distribute connections, measured side by side on the user's own program, and every fault
//! that a server must survive, run on it.
//!
//! It knows `roundelay` as its users do, by its command line. `roundelay compare`, `report` and `drill` are this
//! library's commands; the binary only hands its [`subject::Product`] over.
//!
//! # The map
//!
//! A module uses what stands above it in this list and its own folder. The pure ones open no sockets and read no clock.
//!
//! | module | what it is | |
//! |---|---|---|
//! | `failure` | why a command gave up, and exit codes | pure |
//! | `interrupt` | Ctrl-C | |
//! | `limits` | how many files this process may open | |
//! | `subject` | the binary under test, and the user's program | pure |
//! | `record` | what was found: `report.json` | pure |
//! | `plan` | scenarios, and what is measured in which order | pure |
//! | `analyse` | medians, intervals, verdicts, assertions | pure |
//! | `load` | the generator | |
//! | `setup` | one way, set up with fresh workers | |
//! | `measure` | one repetition: a setup under load, with processor time and memory | |
//! | `report` | terminal, HTML with plots, Markdown, CSV | pure |
//! | `compare` | the command: the whole plan, progress, files | |
//! | `drill` | faults under checked load, what is allowed and what was seen | |

pub mod analysis;
pub mod compare;
pub mod drill;
pub mod failure;
pub mod interrupt;
mod limits;
pub mod load;
pub mod measure;
pub mod plan;
pub mod record;
pub mod report;
pub mod setup;
pub mod subject;
