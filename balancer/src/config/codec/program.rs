//! The program of workers and its environment.

use std::collections::BTreeMap;

use super::super::Program;
use super::super::problem::Position;
use super::super::value::{Raw, Value, Word};
use super::{Codec, Wrong, because, quoted};

/// The program of workers.
pub(in crate::config) const COMMAND: Codec<Program> = Codec {
    expects: "a list of strings: the program, then its arguments",
    read: |value| {
        if let Some(text) = value.text() {
            let words: Vec<String> = text.split_whitespace().map(quoted).collect();
            return because("`command` must be a list: no shell reads it", format!("write [{}]", words.join(", ")));
        }
        let Raw::List(items) = &value.raw else { return Err(Wrong::Expected) };
        let words: Option<Vec<&str>> = items.iter().map(Value::text).collect();
        match words {
            Some(words) if words.iter().any(|word| word.contains('\0')) => {
                because("`command` contains a NUL character", "no argument can")
            }
            Some(words) if words.first().is_some_and(|program| !program.is_empty()) => {
                Ok(Program::Command(words.into_iter().map(str::to_owned).collect()))
            }
            _ => Err(Wrong::Expected),
        }
    },
    show: |program| match program {
        Program::Demo => None,
        Program::Command(words) => {
            Some(format!("[{}]", words.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(", ")))
        }
    },
};

/// The variables that are added to the environment of workers.
pub(in crate::config) const ENV: Codec<BTreeMap<String, String>> = Codec {
    expects: "a table of strings",
    read: |value| {
        let Raw::Table(entries) = &value.raw else { return Err(Wrong::Expected) };
        let read = |(name, value): &(Word, Value)| {
            let wrong = |message: String, label: &str, at: &Position| Wrong::Because {
                message,
                label: Some(label.to_owned()),
                at: Some(at.clone()),
            };
            let name_text = &name.text;
            if name_text.is_empty() || name_text.contains(['=', '\0']) {
                return Err(wrong(format!("`{name_text}` cannot name a variable"), "no `=` and not empty", &name.at));
            }
            match value.text() {
                Some(text) if !text.contains('\0') => Ok((name_text.clone(), text.to_owned())),
                _ => Err(wrong(format!("the variable `{name_text}` must be a string"), "put it in quotes", &value.at)),
            }
        };
        entries.iter().map(read).collect()
    },
    show: |_| None,
};
