//! What a record looks like for people and for programs. Pure.

mod json;
mod text;

pub use json::json;
pub use text::{progress, table};
