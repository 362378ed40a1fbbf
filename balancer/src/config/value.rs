//! A value as it was written, before its meaning is known, with its position. Pure.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::problem::{Position, Problem};

/// A value and its position.
#[derive(Clone, Debug)]
pub(super) struct Value {
    pub(super) raw: Raw,
    pub(super) at: Position,
    /// The text of a flag, a variable or `--set`, where `1` may be meant as text.
    word: Option<String>,
}

/// The written form of a value.
#[derive(Clone, Debug)]
pub(super) enum Raw {
    Text(String),
    Integer(i128),
    List(Vec<Value>),
    Table(Vec<(Word, Value)>),
    Boolean(bool),
    /// A float or a date. No option takes one.
    Other,
}

/// A key and its position.
#[derive(Clone, Debug)]
pub(super) struct Word {
    pub(super) text: String,
    pub(super) at: Position,
}

impl Value {
    pub(super) fn new(raw: Raw, at: Position) -> Self {
        Self { raw, at, word: None }
    }

    /// Reads the word after a flag or in a variable: a number or text.
    pub(super) fn of_word(word: &str, at: Position) -> Self {
        let raw = word.parse().map_or_else(|_| Raw::Text(word.to_owned()), Raw::Integer);
        Self { raw, at, word: Some(word.to_owned()) }
    }

    /// Reads the right side of a `--set`: TOML, or else a bare string.
    pub(super) fn of_setting(text: &str, at: Position) -> Self {
        let position = |_: Range<usize>| at.clone();
        // Blanks around `=` do not belong to the value. Inside quotes they do.
        let text = text.trim();
        let raw = match DeValue::parse(text) {
            Ok(value) => raw(value.get_ref(), &position),
            Err(_) => Raw::Text(text.to_owned()),
        };
        Self { raw, at, word: Some(text.to_owned()) }
    }

    /// Returns the text, if the value is text.
    pub(super) fn text(&self) -> Option<&str> {
        match (&self.raw, &self.word) {
            (Raw::Text(text), _) => Some(text),
            (Raw::Integer(_) | Raw::Boolean(_) | Raw::Other, Some(word)) => Some(word),
            _ => None,
        }
    }

    /// Returns the number, if the value is one in that range.
    pub(super) fn count<T: TryFrom<i128>>(&self, range: std::ops::RangeInclusive<i128>) -> Option<T> {
        match self.raw {
            Raw::Integer(n) if range.contains(&n) => T::try_from(n).ok(),
            _ => None,
        }
    }
}

/// Reads a document. A syntax error is returned as a problem.
pub(super) fn parse(text: &str) -> Result<Value, Vec<Problem>> {
    let (document, errors) = DeTable::parse_recoverable(text);
    if errors.is_empty() {
        let position = |span: Range<usize>| Position::File(span);
        return Ok(Value::new(Raw::Table(table(document.get_ref(), &position)), Position::File(0..0)));
    }
    // Only the first error is reported: after an open bracket or quote the parser's next errors come from the same
    // mistake.
    let first = errors.first().into_iter();
    Err(first.map(|error| syntax(error.message(), error.span(), text)).collect())
}

fn syntax(message: &str, span: Option<Range<usize>>, text: &str) -> Problem {
    let span = span.unwrap_or(text.len()..text.len());
    let mut problem = Problem::error(Position::File(span), format!("this is not TOML: {message}"));
    problem.shows_previous_line = true;
    // After an open bracket the parser reads on and reports the error far below it.
    let is_in_list = message.starts_with("missing comma between array elements");
    problem.maybe_label(is_in_list.then(|| "before this, a list lacks a comma or its `]`".to_owned()))
}

fn table(table: &DeTable<'_>, position: &dyn Fn(Range<usize>) -> Position) -> Vec<(Word, Value)> {
    let entry = |(key, inner): (&Spanned<_>, &Spanned<DeValue<'_>>)| {
        let key: &Spanned<std::borrow::Cow<'_, str>> = key;
        let word = Word { text: key.get_ref().to_string(), at: position(key.span()) };
        (word, value(inner, position))
    };
    table.iter().map(entry).collect()
}

fn value(value: &Spanned<DeValue<'_>>, position: &dyn Fn(Range<usize>) -> Position) -> Value {
    Value::new(raw(value.get_ref(), position), position(value.span()))
}

fn raw(written: &DeValue<'_>, position: &dyn Fn(Range<usize>) -> Position) -> Raw {
    match written {
        DeValue::String(text) => Raw::Text(text.to_string()),
        DeValue::Integer(integer) => {
            i128::from_str_radix(integer.as_str(), integer.radix()).map_or(Raw::Other, Raw::Integer)
        }
        DeValue::Array(items) => Raw::List(items.iter().map(|item| value(item, position)).collect()),
        DeValue::Table(inner) => Raw::Table(table(inner, position)),
        DeValue::Boolean(is_on) => Raw::Boolean(*is_on),
        DeValue::Float(_) | DeValue::Datetime(_) => Raw::Other,
    }
}

/// The longest word that is compared with names. A longer one is no typing error of a name, and comparing it would take
/// long.
const LONGEST_TYPO: usize = 64;

/// Names from before the first release, which are not similar to their new names.
const FORMER: &[(&str, &str)] = &[
    ("assignment-timeout", "dispatch-timeout"),
    ("contract", "socket-passing"),
    ("budget", "max-exits"),
    ("quiet", "idle"),
    ("closed", "wait"),
];

/// Returns the candidate that was probably meant.
pub(crate) fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if word.len() > LONGEST_TYPO {
        return None;
    }
    let word = word.replace('_', "-").to_lowercase();
    let allowed = (word.chars().count() / 3).max(1);
    let distance = |one: &str| match FORMER.contains(&(word.as_str(), one)) {
        true => 0,
        false => strsim::damerau_levenshtein(&word, &one.to_lowercase()),
    };
    let distances = candidates.into_iter().map(|one| (distance(one), one));
    distances.filter(|(distance, _)| *distance <= allowed).min().map(|(_, one)| one)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_name_is_found_and_nonsense_is_not() {
        let names = ["round-robin", "least-connections", "p2c", "random"];
        assert_eq!(nearest("roundrobin", names), Some("round-robin"));
        assert_eq!(nearest("Round_Robin", names), Some("round-robin"));
        assert_eq!(nearest("p3c", names), Some("p2c"));
        assert_eq!(nearest("weighted", names), None);
        assert_eq!(nearest("", names), None);
        assert_eq!(nearest(&"p2c".repeat(100_000), names), None);
    }

    #[test]
    fn setting_is_toml_or_a_bare_string() {
        let at = || Position::Default;
        assert!(matches!(Value::of_setting("4", at()).raw, Raw::Integer(4)));
        assert!(matches!(Value::of_setting("-1", at()).raw, Raw::Integer(-1)));
        assert!(matches!(Value::of_setting(r#"["a", "b"]"#, at()).raw, Raw::List(items) if items.len() == 2));
        assert!(matches!(Value::of_setting(" off ", at()).raw, Raw::Text(text) if text == "off"));
        for bare in ["none", "127.0.0.1:80", "[::]:80", "5s", "unix:/a b", "it's"] {
            assert_eq!(Value::of_setting(bare, at()).text(), Some(bare));
        }
        assert_eq!(Value::of_setting("\"none\"", at()).text(), Some("none"));
        assert_eq!(Value::of_setting("3000", at()).text(), Some("3000"));
        assert_eq!(Value::new(Raw::Integer(3000), at()).text(), None);
    }
}
