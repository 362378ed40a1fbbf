//! Problems of a configuration, with their positions. Pure.

use std::fmt;
use std::ops::Range;

use super::frame;
use super::source::Source;
use crate::failure::code;

/// The number of problems that are shown. Each position is searched for in the whole text, and no user reads more.
const MOST_SHOWN: usize = 100;

/// The position at which an option was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Position {
    /// These bytes of the file.
    File(Range<usize>),
    /// The file as a whole.
    Whole,
    /// A flag or an environment variable, as it was given: `--set pool.api.workers=4`, `ROUNDELAY_LISTEN`.
    Words(String),
    /// It was not written: a default.
    Default,
}

/// The severity of a problem.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// The configuration is refused.
    Error,
    /// The configuration works, but probably not as intended.
    Warning,
}

/// One problem of a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The severity.
    pub severity: Severity,
    /// The fault, with the value.
    pub message: String,
    /// The position at which it was written.
    pub position: Position,
    /// The text to write instead.
    pub label: Option<String>,
    /// The other position, if two options contradict each other.
    pub also: Option<Position>,
    /// True if the line before explains the problem, as with a bracket that was not closed.
    pub shows_previous_line: bool,
}

impl Problem {
    /// Makes an error at that position.
    pub(super) fn error(position: Position, message: impl Into<String>) -> Self {
        let message = message.into();
        Self { severity: Severity::Error, message, position, label: None, also: None, shows_previous_line: false }
    }

    /// Makes a warning at that position.
    pub(super) fn warning(position: Position, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(position, message) }
    }

    /// Adds the text to write instead.
    pub(super) fn label(mut self, label: impl Into<String>) -> Self {
        self.label = Some(label.into());
        self
    }

    /// Adds the text to write instead, if it is known.
    pub(super) fn maybe_label(mut self, label: Option<String>) -> Self {
        self.label = label;
        self
    }
}

/// All problems, in the order of the file. Those of flags and environment come last.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Problems {
    source: Option<Source>,
    list: Vec<Problem>,
}

impl Problems {
    /// Makes a list of these problems. Their positions refer to `source`.
    pub(super) fn new(source: Option<Source>, list: Vec<Problem>) -> Self {
        let mut problems = Self { source, list };
        problems.sort();
        problems
    }

    /// Sorts the problems by position, after some were added.
    pub fn sort(&mut self) {
        let order = |position: &Position| match position {
            Position::Whole => (0, 0),
            Position::File(span) => (1, span.start),
            Position::Words(_) | Position::Default => (2, 0),
        };
        self.list.sort_by_key(|problem| order(&problem.position));
    }

    /// Returns each problem.
    pub fn iter(&self) -> impl Iterator<Item = &Problem> {
        self.list.iter()
    }

    /// Returns true if there is no problem.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Returns the number of errors.
    pub fn errors(&self) -> usize {
        self.list.iter().filter(|problem| problem.severity == Severity::Error).count()
    }

    /// Adds a warning without a position.
    pub fn warn(&mut self, message: impl Into<String>) {
        self.list.push(Problem::warning(Position::Default, message));
    }

    /// Adds an error at that position.
    pub fn fail(&mut self, position: Option<&Position>, message: impl Into<String>, label: impl Into<String>) {
        let position = position.cloned().unwrap_or(Position::Default);
        self.list.push(Problem::error(position, message).label(label));
    }

    /// Returns the exit code: 78 if the file is at fault, 2 if only flags or the environment are.
    pub fn code(&self) -> u8 {
        let is_in_file =
            |problem: &Problem| matches!(problem.position, Position::File(_) | Position::Whole | Position::Default);
        if self.list.iter().any(is_in_file) { code::CONFIG } else { code::USAGE }
    }

    /// Returns the problems as text, with colours if `is_coloured`. If there are too many to show all, only errors are
    /// shown, as far as there are any.
    pub fn render(&self, is_coloured: bool) -> String {
        let paint = frame::Paint { is_coloured };
        let left_out = self.list.len().saturating_sub(MOST_SHOWN);
        let only_errors = left_out > 0 && self.errors() > 0;
        let is_shown = |one: &&Problem| !only_errors || one.severity == Severity::Error;
        let shown = self.list.iter().filter(is_shown).take(MOST_SHOWN);
        let mut text: String = shown.map(|one| frame::render(one, self.source.as_ref(), paint)).collect();
        if left_out > 0 {
            text.push_str(&format!("... and more: {} problems in all\n", self.list.len()));
        }
        let errors = self.errors();
        let counted = self.list.iter().any(|one| matches!(one.position, Position::File(_)));
        if let (Some(source), true, true) = (&self.source, counted, errors > 0) {
            let plural = if errors == 1 { "" } else { "s" };
            text.push_str(&format!("{errors} error{plural} in {}\n", source.name));
        }
        text
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

impl std::error::Error for Problems {}
