//! What is to be measured, in which order. Pure.

mod scenario;

pub use scenario::{Event, Request, Scenario};
