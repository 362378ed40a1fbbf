//! One way under one load: what the generator saw, what the processes used, and where.

pub mod environment;
mod happening;
pub mod proc;
mod repetition;

pub use repetition::{Bench, Unmeasured};
