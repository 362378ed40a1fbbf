//! Rigs, set up for real: each answers, names its workers, does what it is told, and leaves nothing behind.

mod kit;
mod product;
