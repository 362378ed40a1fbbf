//! What may stand in a log. Pure.
//!
//! A worker's text goes to terminals, pagers and collectors: a raw escape sequence could rewrite them, a raw carriage return
//! could hide a line, a separator could make two of it, and a change of direction could show it as another text.

use std::fmt::Write;

/// Whether a character must not reach a reader as it is. The tab may.
pub(super) fn is_harmful(c: char) -> bool {
    match c {
        '\t' => false,
        // Line and paragraph separator end a line for some readers.
        '\u{2028}' | '\u{2029}' => true,
        // Marks, embeddings, overrides and isolates of the bidirectional algorithm.
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => true,
        c => c.is_control(),
    }
}

/// Appends a text with its harmful characters as `\u{1b}`.
pub(super) fn push_text(out: &mut String, text: &str) {
    if is_plain(text) {
        return out.push_str(text);
    }
    for c in text.chars() {
        if is_harmful(c) {
            out.extend(c.escape_unicode());
        } else {
            out.push(c);
        }
    }
}

/// Appends a text as the inside of a JSON string, with its harmful characters as `\u001b`: whoever parses it has the text
/// as it was.
pub(super) fn push_json(out: &mut String, text: &str) {
    if is_plain(text) && !text.contains(['"', '\\', '\t']) {
        return out.push_str(text);
    }
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\t' => out.push_str("\\t"),
            c if is_harmful(c) => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    let _ = write!(out, "\\u{unit:04x}");
                }
            }
            c => out.push(c),
        }
    }
}

/// Most lines are: nothing in them but printable ASCII and tabs.
fn is_plain(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b'\t' | b' '..=b'~'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_a_worker_writes_controls_a_terminal() {
        let mut seen = String::new();
        push_text(
            &mut seen,
            "\x1b[2Jgone\rover \x07 \u{7f}\u{9b} \u{fffd} \tkept \u{2028}\u{2029} \u{202e}txt.exe\u{2066}",
        );
        let expected = "\\u{1b}[2Jgone\\u{d}over \\u{7} \\u{7f}\\u{9b} \u{fffd} \tkept \\u{2028}\\u{2029} \
                        \\u{202e}txt.exe\\u{2066}";
        assert_eq!(seen, expected);
    }

    #[test]
    fn in_json_every_character_comes_back() {
        let text: String = ('\0'..='\u{2100}').chain("🦀\u{e0001}".chars()).collect();
        let mut json = String::from("\"");
        push_json(&mut json, &text);
        json.push('"');
        assert!(!json.chars().any(|c| is_harmful(c) || c == '\t'));
        assert_eq!(serde_json::from_str::<String>(&json).unwrap(), text);
    }
}
