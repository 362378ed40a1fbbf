//! Reads and writes each kind of value, with one [`Codec`] for each kind. Pure.

mod number;
mod privilege;
mod program;
mod size;
mod target;
mod word;

use super::problem::Position;
use super::value::Value;
use crate::printable::{is_harmful, push_json};

pub(super) use number::*;
pub(super) use privilege::*;
pub(super) use program::*;
pub(super) use size::*;
pub(super) use target::*;
pub(super) use word::*;

/// Reads and writes one kind of value.
pub(super) struct Codec<T: 'static> {
    /// Completes "`key` must be …".
    pub(super) expects: &'static str,
    pub(super) read: fn(&Value) -> Result<T, Wrong>,
    /// Writes the value as TOML. `None` where leaving the key out is the only way to say it.
    pub(super) show: fn(&T) -> Option<String>,
}

/// The reason why a value is refused.
#[derive(Debug)]
pub(super) enum Wrong {
    /// The value is not what the codec expects.
    Expected,
    /// The value is not what the codec expects, but close to it. The label suggests the value that was probably meant.
    Nearly(String),
    /// There is a more exact message than "must be …".
    Because {
        message: String,
        label: Option<String>,
        /// The position of an element, if the problem is one element and not the whole value.
        at: Option<Position>,
    },
}

/// Writes a string as TOML.
pub(super) fn quoted(text: &str) -> String {
    if text.contains(is_harmful) {
        let mut basic = String::from("\"");
        push_json(&mut basic, text);
        return basic + "\"";
    }
    toml::Value::String(text.to_owned()).to_string()
}

fn because<T>(message: impl Into<String>, label: impl Into<String>) -> Result<T, Wrong> {
    Err(Wrong::Because { message: message.into(), label: Some(label.into()), at: None })
}
