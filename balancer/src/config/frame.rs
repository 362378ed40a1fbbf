//! Writes one problem as text: the message, the position, and the line with carets below it. Pure.

use std::ops::Range;

use anstyle::{AnsiColor, Style};

use super::problem::{Position, Problem, Severity};
use super::source::Source;
use crate::printable::{escape, is_harmful};

/// The widest line that is shown. Longer lines are cut around the position, or a single one would fill the screen.
const WIDEST: usize = 100;

/// Writes colours, if they are on. Colours only repeat the meaning of a word.
#[derive(Clone, Copy)]
pub(super) struct Paint {
    pub(super) is_coloured: bool,
}

impl Paint {
    fn with(self, colour: AnsiColor, text: &str) -> String {
        if !self.is_coloured {
            return text.to_owned();
        }
        let style = Style::new().fg_color(Some(colour.into())).bold();
        format!("{style}{text}{style:#}")
    }
}

/// Returns the problem with its position as text.
pub(super) fn render(problem: &Problem, source: Option<&Source>, paint: Paint) -> String {
    let (word, colour) = match problem.severity {
        Severity::Error => ("error", AnsiColor::Red),
        Severity::Warning => ("warning", AnsiColor::Yellow),
    };
    let mut text = format!("{}: {}", paint.with(colour, word), escape(&problem.message));
    match (&problem.position, source) {
        (Position::File(span), Some(source)) => text.push_str(&frame(problem, source, span, colour, paint)),
        (Position::Words(words), _) => {
            text.push_str(&format!(" (from {})\n", escape(words)));
            text.push_str(&hint(problem, source, paint));
        }
        (Position::Whole, Some(source)) => {
            text.push_str(&format!("\n  {} {}\n", paint.with(AnsiColor::Blue, "-->"), escape(&source.name)));
            text.push_str(&hint(problem, Some(source), paint));
        }
        _ => {
            text.push('\n');
            text.push_str(&hint(problem, source, paint));
        }
    }
    text
}

fn hint(problem: &Problem, source: Option<&Source>, paint: Paint) -> String {
    let label = label(problem, source);
    if label.is_empty() { label } else { format!("{}:  {label}\n", paint.with(AnsiColor::Cyan, "hint")) }
}

/// Returns the text after the carets: the text to write instead, and the other position.
fn label(problem: &Problem, source: Option<&Source>) -> String {
    let also = problem.also.as_ref().and_then(|at| match (at, source) {
        (Position::File(span), Some(source)) => Some(format!("see {}", position(source, span.start))),
        (Position::Words(words), _) => Some(format!("see {}", escape(words))),
        _ => None,
    });
    let label = problem.label.as_deref().map(escape);
    label.into_iter().chain(also).collect::<Vec<_>>().join("; ")
}

fn frame(problem: &Problem, source: &Source, span: &Range<usize>, colour: AnsiColor, paint: Paint) -> String {
    let (number, line, column) = locate(&source.text, span.start);
    let bar = paint.with(AnsiColor::Blue, "|");
    let gutter = number.to_string().len();
    let mut text = format!("\n  {} {}\n", paint.with(AnsiColor::Blue, "-->"), position(source, span.start));
    let empty = format!(" {:gutter$} {bar}\n", "");
    text.push_str(&empty);
    let previous = problem.shows_previous_line.then(|| source.text.lines().nth(number.wrapping_sub(2))).flatten();
    if let Some(previous) = previous.filter(|previous| !previous.trim().is_empty()) {
        let number = paint.with(AnsiColor::Blue, &format!("{:gutter$}", number - 1));
        text.push_str(&format!(" {number} {bar} {}\n", escape(&previous.chars().take(WIDEST).collect::<String>())));
    }
    // The caret line repeats the tabs of the line above, so that both lines have the same width at any tab width.
    let skipped = if column > WIDEST * 3 / 4 { column - WIDEST / 2 } else { 0 };
    let shown: Vec<char> = line.chars().skip(skipped).take(WIDEST).collect();
    let (before, from) = shown.split_at((column - skipped).min(shown.len()));
    let before: String = before.iter().map(|&c| if c == '\t' { c.into() } else { " ".repeat(width(c)) }).collect();
    let marked = source.text.get(span.clone()).unwrap_or("").lines().next().unwrap_or("").chars().count();
    let carets = "^".repeat(from.iter().take(marked).map(|&c| width(c)).sum::<usize>().max(1));
    let number = paint.with(AnsiColor::Blue, &format!("{number:gutter$}"));
    let shown: String = shown.into_iter().collect();
    text.push_str(format!(" {number} {bar} {}", escape(&shown)).trim_end());
    let label = label(problem, Some(source));
    let carets = paint.with(colour, format!("{carets} {label}").trim_end());
    text.push_str(&format!("\n {:gutter$} {bar} {before}{carets}\n", ""));
    text
}

/// Returns the number of characters that are shown for this one.
fn width(c: char) -> usize {
    if is_harmful(c) { c.escape_default().count() } else { 1 }
}

/// Returns a position as `roundelay.toml:3:1`.
pub(super) fn position(source: &Source, offset: usize) -> String {
    let (number, _, column) = locate(&source.text, offset);
    format!("{}:{number}:{}", escape(&source.name), column + 1)
}

/// Returns the line's number from 1, its text, and the column from 0 in characters.
fn locate(text: &str, offset: usize) -> (usize, &str, usize) {
    let offset = text.floor_char_boundary(offset.min(text.len()));
    let start = text[..offset].rfind('\n').map_or(0, |newline| newline + 1);
    let end = text[offset..].find('\n').map_or(text.len(), |newline| offset + newline);
    let number = text[..start].matches('\n').count() + 1;
    // A byte order mark does not count as a column.
    let mark = if start == 0 { text.len() - text.trim_start_matches('\u{feff}').len() } else { 0 };
    let line = text[start + mark.min(end - start)..end].trim_end_matches('\r');
    let column = text[start..offset].chars().filter(|&c| c != '\u{feff}').count();
    (number, line, column.min(line.chars().count()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str, span: Range<usize>) -> String {
        let problem = Problem::error(Position::File(span), "wrong").label("right");
        render(&problem, Some(&Source::new("f.toml", text)), Paint { is_coloured: false })
    }

    #[test]
    fn carets_are_below_the_faulty_text() {
        assert_eq!(
            at("a = 1\nbb = 22\n", 11..13),
            "error: wrong\n  --> f.toml:2:6\n   |\n 2 | bb = 22\n   |      ^^ right\n"
        );
        assert_eq!(at("\tü = 1\r\n", 6..7), "error: wrong\n  --> f.toml:1:6\n   |\n 1 | \tü = 1\n   | \t    ^ right\n");
        assert_eq!(at("\u{feff}a = 1", 3..4), "error: wrong\n  --> f.toml:1:1\n   |\n 1 | a = 1\n   | ^ right\n");
        assert_eq!(
            at("a\u{61c}\u{202e} = 1\n", 6..7),
            "error: wrong\n  --> f.toml:1:4\n   |\n 1 | a\\u{61c}\\u{202e} = 1\n   |                 ^ right\n"
        );
        assert_eq!(at("a\n", 2..2), "error: wrong\n  --> f.toml:2:1\n   |\n 2 |\n   | ^ right\n");
    }

    #[test]
    fn any_span_of_any_text_can_be_shown() {
        for text in ["", "\n", "ü", "\u{feff}", "a\r\n\u{1b}[31mb\u{202e}\u{61c}\u{2028}", &"ö\t".repeat(300)] {
            for start in 0..text.len() + 2 {
                for end in [start, start + 1, start + 700] {
                    assert!(!at(text, start..end).contains(|c| is_harmful(c) && c != '\n'));
                }
            }
        }
    }

    #[test]
    fn long_line_is_cut_around_the_position() {
        let text = format!("{}X{}", "a".repeat(400), "b".repeat(400));
        let shown = at(&text, 400..401);
        assert!(shown.contains(":1:401\n") && shown.lines().all(|line| line.chars().count() < 120), "{shown}");
        let lines: Vec<&str> = shown.lines().collect();
        assert_eq!(lines[3].find('X'), lines[4].find('^'));
    }
}
