//! Measures one way under one load: the generator's observations, the processes' usage, and the environment.

pub mod environment;
mod happening;
pub mod proc;
mod repetition;

pub use repetition::{Bench, Unmeasured};
