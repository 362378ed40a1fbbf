//! Reports of a record for people and for programs. Pure.

mod json;
mod text;

pub use json::json;
pub use text::{progress, table};
