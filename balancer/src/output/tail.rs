//! The last lines of a process, for the report of its end. Pure.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::lines::LogLine;
use crate::printable::push_text;

/// The number of lines that are kept.
const LINES: usize = 20;
/// A longer line is cut to this many bytes, since lines are held for every worker and shown with every state.
const LONGEST: usize = 4 << 10;

/// The last lines of both streams.
#[derive(Clone, Debug, Default)]
pub(super) struct Tail(Arc<Mutex<VecDeque<String>>>);

impl Tail {
    fn lock(&self) -> MutexGuard<'_, VecDeque<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn keep(&self, line: LogLine<'_>) {
        let mut lines = self.lock();
        // The memory of the oldest line is used again.
        let mut kept = if lines.len() < LINES { String::new() } else { lines.pop_front().unwrap_or_default() };
        kept.clear();
        // Keeps one character more than is shown, which tells that there was more.
        kept.push_str(line.text.get(..line.text.floor_char_boundary(LONGEST + 4)).unwrap_or_default());
        lines.push_back(kept);
    }

    /// The lines, oldest first, safe to print.
    pub(super) fn lines(&self) -> Arc<[String]> {
        self.lock().iter().map(|kept| shown(kept)).collect()
    }
}

fn shown(kept: &str) -> String {
    let mut shown = String::new();
    push_text(&mut shown, kept);
    if shown.len() > LONGEST {
        shown.truncate(shown.floor_char_boundary(LONGEST));
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(texts: &[&str]) -> Arc<[String]> {
        let tail = Tail::default();
        for text in texts {
            tail.keep(LogLine { text, goes_on: false });
        }
        tail.lines()
    }

    #[test]
    fn last_twenty_lines_are_kept_in_order() {
        let texts: Vec<String> = (0..50).map(|n| n.to_string()).collect();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        assert_eq!(kept(&texts)[..], texts[30..]);
        assert_eq!(kept(&["one\x1b"])[..], ["one\\u{1b}"]);
    }

    #[test]
    fn long_lines_are_cut_and_say_so() {
        let lines =
            kept(&[&"x".repeat(LONGEST), &"x".repeat(LONGEST + 1), &"🦀".repeat(2000), &"\x1b".repeat(LONGEST)]);
        assert!(!lines[0].ends_with('…'));
        for line in &lines[1..] {
            assert!(line.ends_with('…') && line.len() <= LONGEST + '…'.len_utf8(), "{}", line.len());
        }
    }
}
