//! Text cut to a number of columns of a terminal. Pure.
//!
//! A wide character (CJK, most emoji) takes two columns, a combining one takes none. Where terminals differ, the larger
//! width counts.

use unicode_width::UnicodeWidthChar;

const ELLIPSIS: char = '…';

/// Returns the columns that a text takes.
pub(super) fn width(text: &str) -> usize {
    text.chars().map(columns).sum()
}

fn columns(c: char) -> usize {
    match c {
        // This character asks for the coloured form of the character before it, which some terminals then show in two
        // columns.
        '\u{fe0f}' => 1,
        c => c.width().unwrap_or(0),
    }
}

/// Returns the text if it fits, else its beginning and `…`.
pub(super) fn clip(text: &str, room: usize) -> String {
    if width(text) <= room {
        return text.to_owned();
    }
    let Some(room) = room.checked_sub(1) else { return String::new() };
    let mut clipped = beginning(text, room).to_owned();
    clipped.push(ELLIPSIS);
    clipped
}

/// Returns the name if it fits, else its beginning, `…` and its slot, as `payments…/12`.
pub(super) fn elide(text: &str, room: usize) -> String {
    if width(text) <= room || room < 3 {
        return clip(text, room);
    }
    let slot = text.rfind('/').map_or("", |slash| &text[slash..]);
    let slot = if width(slot) < room { slot } else { "" };
    format!("{}{ELLIPSIS}{slot}", beginning(text, room - 1 - width(slot)))
}

/// Returns the text in at most `most` lines that fit, broken between words where that is possible; what is left over is `…`.
pub(super) fn wrap(text: &str, room: usize, most: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let mut rest = text.trim();
    while !rest.is_empty() && room > 0 {
        if lines.len() + 1 == most || width(rest) <= room {
            lines.push(clip(rest, room));
            break;
        }
        let fits = beginning(rest, room);
        // If the next character is a space, the line ends with a whole word.
        let is_whole = rest[fits.len()..].starts_with(' ');
        let at = if is_whole { fits.len() } else { fits.rfind(' ').unwrap_or(fits.len()) };
        let (line, after) = rest.split_at(at);
        if line.is_empty() {
            // There is one column left, and a character that takes two.
            lines.push(clip(rest, room));
            break;
        }
        lines.push(line.trim_end().to_owned());
        rest = after.trim_start();
    }
    lines
}

/// Returns as much of the text as fits.
fn beginning(text: &str, room: usize) -> &str {
    let mut taken = 0;
    let end = text.char_indices().find(|&(_, c)| {
        taken += columns(c);
        taken > room
    });
    end.map_or(text, |(end, _)| &text[..end])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn wide_and_combining_characters_take_their_columns() {
        assert_eq!(["ab", "数据库", "e\u{301}", "🦀", "❤\u{fe0f}"].map(width), [2, 6, 1, 2, 2]);
        assert_eq!(clip("数据库连接失败", 7), "数据库…");
        assert_eq!(clip("数据库连接失败", 8), "数据库…");
        assert_eq!(clip("数据库", 6), "数据库");
        assert_eq!((clip("abc", 1), clip("abc", 0)), ("…".to_owned(), String::new()));
    }

    #[test]
    fn elided_name_keeps_its_slot() {
        assert_eq!(elide("  payments-service/12", 14), "  payments…/12");
        assert_eq!(elide("  payments-service/12", 21), "  payments-service/12");
        assert_eq!(elide("payments-service", 9), "payments…");
        assert_eq!(elide("a/1234", 4), "a/1…");
    }

    #[test]
    fn wrapped_text_breaks_between_words() {
        let text = "next start in 4.0s; last exit: exit code 3, 1m05s ago";
        assert_eq!(wrap(text, 20, 3), ["next start in 4.0s;", "last exit: exit code", "3, 1m05s ago"]);
        assert_eq!(wrap(text, 20, 2), ["next start in 4.0s;", "last exit: exit cod…"]);
        assert_eq!(wrap("missing数据库连接", 9, 3), ["missing数", "据库连接"]);
        assert_eq!(wrap("数", 1, 3), ["…"]);
        assert_eq!(wrap("", 10, 3), [""; 0]);
    }

    proptest! {
        #[test]
        fn cut_text_is_never_wider_than_its_room(text in "(\\PC|[ /数🦀❤\u{fe0f}\u{301}]){0,60}", room in 0usize..40) {
            prop_assert!(width(&clip(&text, room)) <= room);
            prop_assert!(width(&elide(&text, room)) <= room);
            let lines = wrap(&text, room, 3);
            prop_assert!(lines.len() <= 3 && lines.iter().all(|line| width(line) <= room), "{lines:?}");
        }
    }
}
