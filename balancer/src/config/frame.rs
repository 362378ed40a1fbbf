//! Writes one problem as text: the message, the position, and the line with carets below it. Pure.
//!
//! `annotate-snippets` lays out the line: it cuts a long one around the position, and knows the width of each character.
//! It gets the line escaped, and so does not know the column in the file: the position above the line is written here.

use std::ops::Range;

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};
use anstyle::{AnsiColor, Style};

use super::problem::{Position, Problem, Severity};
use super::source::Source;
use crate::printable::escape;

/// The widest line that is shown. Longer lines are cut around the position, or a single one would fill the screen.
const WIDEST: usize = 100;
/// The bytes of a line before and after the caret that are looked at. A file may be one line of a mebibyte.
const FAR: usize = 4 << 10;

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
        Severity::Error => ("error", AnsiColor::BrightRed),
        Severity::Warning => ("warning", AnsiColor::Yellow),
    };
    let mut text = format!("{}: {}", paint.with(colour, word), escape(&problem.message));
    match (&problem.position, source) {
        (Position::File(span), Some(source)) => text.push_str(&frame(problem, source, span, paint)),
        (Position::Words(words), _) => {
            text.push_str(&format!(" (from {})\n", escape(words)));
            text.push_str(&hint(problem, source, paint));
        }
        (Position::Whole, Some(source)) => {
            text.push_str(&format!("\n{}\n", arrow(1, &escape(&source.name), paint)));
            text.push_str(&hint(problem, Some(source), paint));
        }
        _ => {
            text.push('\n');
            text.push_str(&hint(problem, source, paint));
        }
    }
    text
}

/// Returns the line that names the position, with the point of its arrow above the bar beside line numbers of `digits`.
fn arrow(digits: usize, position: &str, paint: Paint) -> String {
    format!("{:digits$}{} {position}", "", paint.with(AnsiColor::BrightBlue, "-->"))
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

/// Returns the position, the line, and carets below the part of the span that is on it.
fn frame(problem: &Problem, source: &Source, span: &Range<usize>, paint: Paint) -> String {
    let (number, line, start) = locate(&source.text, span.start);
    let end = line.ceil_char_boundary(start + span.len().clamp(1, FAR));
    let near = line.ceil_char_boundary(start.saturating_sub(FAR))..line.floor_char_boundary(end + FAR);
    let [before, marked, after] = [near.start..start, start..end, end..near.end].map(|part| escape(&line[part]));

    let previous = problem.shows_previous_line.then(|| source.text.lines().nth(number.wrapping_sub(2))).flatten();
    let previous = previous.filter(|previous| !previous.trim().is_empty());
    let first = number - usize::from(previous.is_some());
    let previous = previous.map(|line| escape(&line[..line.floor_char_boundary(FAR)]) + "\n").unwrap_or_default();

    let from = previous.len() + before.len();
    // At the end of a line the caret is below the line break.
    let carets = AnnotationKind::Primary.span(from..from + marked.len().max(1));
    let label = label(problem, Some(source));
    let carets = if label.is_empty() { carets } else { carets.label(label) };
    let shown_before = AnnotationKind::Visible.span(0..previous.len().saturating_sub(1));
    let snippet = Snippet::source(previous + &before + &marked + &after + "\n").line_start(first);
    let snippet = snippet.annotation(shown_before).annotation(carets);

    let level = match problem.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let renderer = if paint.is_coloured { Renderer::styled() } else { Renderer::plain() };
    let snippet = renderer.term_width(WIDEST).render(&[Group::with_level(level).element(snippet)]);
    let digits = number.to_string().len();
    format!("\n{}\n{snippet}\n", arrow(digits, &position(source, span.start), paint))
}

/// Returns a position as `roundelay.toml:3:1`, with the column in characters.
pub(super) fn position(source: &Source, offset: usize) -> String {
    let (number, line, start) = locate(&source.text, offset);
    format!("{}:{number}:{}", escape(&source.name), line[..start].chars().count() + 1)
}

/// Returns the line's number from 1, its text, and where in this text the offset is, in bytes.
fn locate(text: &str, offset: usize) -> (usize, &str, usize) {
    let offset = text.floor_char_boundary(offset.min(text.len()));
    let start = text[..offset].rfind('\n').map_or(0, |newline| newline + 1);
    let end = text[offset..].find('\n').map_or(text.len(), |newline| offset + newline);
    let number = text[..start].matches('\n').count() + 1;
    // A byte order mark is no part of the line.
    let mark = if start == 0 { text[..end].len() - text[..end].trim_start_matches('\u{feff}').len() } else { 0 };
    let line = text[start + mark..end].trim_end_matches('\r');
    (number, line, offset.saturating_sub(start + mark).min(line.len()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::printable::is_harmful;

    fn at(text: &str, span: Range<usize>) -> String {
        let problem = Problem::error(Position::File(span), "wrong").label("right");
        render(&problem, Some(&Source::new("f.toml", text)), Paint { is_coloured: false })
    }

    #[test]
    fn carets_are_below_the_faulty_text() {
        for (text, span, place, lines) in [
            ("a = 1\nbb = 22\n", 11..13, "2:6", "2 | bb = 22\n  |      ^^ right\n"),
            ("\tü = 1\r\n", 6..7, "1:6", "1 |     ü = 1\n  |         ^ right\n"),
            ("漢字 = 1\n", 9..10, "1:6", "1 | 漢字 = 1\n  |        ^ right\n"),
            ("\u{feff}a = 1", 3..4, "1:1", "1 | a = 1\n  | ^ right\n"),
            ("a\u{61c}\u{202e} = 1\n", 6..7, "1:4", "1 | a\\u{61c}\\u{202e} = 1\n  |                 ^ right\n"),
            ("a\n", 1..1, "1:2", "1 | a\n  |  ^ right\n"),
            ("a\n", 2..2, "2:1", "2 |\n  | ^ right\n"),
            ("a = [1\n2", 4..8, "1:5", "1 | a = [1\n  |     ^^ right\n"),
        ] {
            assert_eq!(at(text, span), format!("error: wrong\n --> f.toml:{place}\n  |\n{lines}"), "{text}");
        }
    }

    #[test]
    fn previous_line_is_shown_if_it_explains_the_problem() {
        let problem = Problem { shows_previous_line: true, ..Problem::error(Position::File(20..20), "wrong") };
        let shown = |text: &str| render(&problem, Some(&Source::new("f.toml", text)), Paint { is_coloured: false });
        let lines = "error: wrong\n  --> f.toml:10:1\n   |\n 9 | [a\n10 |\n   | ^\n";
        assert_eq!(shown(&("\n".repeat(8) + "[a\n")), lines);
        assert_eq!(shown("                   \n"), "error: wrong\n --> f.toml:2:1\n  |\n2 |\n  | ^\n");
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
        assert!(shown.contains(":1:401\n") && shown.lines().all(|line| line.len() < 120), "{shown}");
        let lines: Vec<&str> = shown.lines().collect();
        assert_eq!(lines[3].find('X'), lines[4].find('^'));
    }
}
