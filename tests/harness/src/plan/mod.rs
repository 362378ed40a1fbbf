//! The plan of a comparison: scenarios, and the order in which they are measured. Pure.

mod builtin;
mod file;
mod order;
mod scenario;

pub use builtin::{QUICK, USUAL, scenarios};
pub use file::read as read_file;
pub use order::{CALIBRATION_SECONDS, EVENT_SHARE, calibration_seconds, rates, repetition_seconds, shuffled};
pub use scenario::{Event, Request, Scenario};
