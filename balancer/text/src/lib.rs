//! What the commands print, the balancer's and the harness's alike. Pure.
//!
//! The harness knows nothing of the balancer's crate, and both write names from outside and give up in the same words. So
//! the two modules stand here, once.

pub mod failure;
pub mod printable;
