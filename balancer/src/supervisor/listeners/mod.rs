//! The listeners of a pool whose workers accept by themselves, and the timer of the hold.

mod bind;
mod bind_limit;
pub(super) mod hold;
pub(super) mod inherited;
pub(super) mod node;
pub(super) mod reuseport;
