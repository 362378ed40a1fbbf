//! One repetition: a rig under load, with processor time and memory.

pub mod proc;
