//! The kernel, safely.

pub mod inspect;
