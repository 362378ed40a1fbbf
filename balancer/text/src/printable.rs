//! Makes text from outside safe to print. Pure.
//!
//! Names, messages and output of workers and of other programs reach logs, terminals, pages and collectors. A raw escape
//! sequence could rewrite a screen, a line break could forge a line of the log, and a mark of the bidirectional algorithm
//! could show a text as another one. Every sink uses the functions here, and only these.

use std::borrow::Cow;
use std::fmt::Write;

/// Returns true for a character that must not reach a reader as it is. The tab may.
pub fn is_harmful(c: char) -> bool {
    match c {
        '\t' => false,
        // Marks, embeddings, overrides and isolates of the bidirectional algorithm; U+2028 and U+2029 end a line for some.
        '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' => true,
        c => c.is_control(),
    }
}

/// Appends a text with its harmful characters as `\u{1b}`, `\n` and `\r`.
pub fn push_text(out: &mut String, text: &str) {
    if is_plain(text) {
        return out.push_str(text);
    }
    for c in text.chars() {
        if is_harmful(c) {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
    }
}

/// Returns the text with its harmful characters escaped, whole.
pub fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    push_text(&mut safe, text);
    safe
}

/// Returns at most `longest` characters of the text, escaped; a text that goes on ends in `…`.
pub fn excerpt(text: &str, longest: usize) -> String {
    match text.char_indices().nth(longest) {
        Some((end, _)) => escape(text.get(..end).unwrap_or_default()) + "…",
        None => escape(text),
    }
}

/// Returns a text of ours that has several lines, each of them escaped.
pub fn escape_lines(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for (i, line) in text.split('\n').enumerate() {
        if i > 0 {
            safe.push('\n');
        }
        push_text(&mut safe, line);
    }
    safe
}

/// Appends a text as the inside of a JSON string, with its harmful characters as `\u001b`: a parser gives back the text as
/// it was.
pub fn push_json(out: &mut String, text: &str) {
    if is_plain(text) && !text.contains(['"', '\\', '\t']) {
        return out.push_str(text);
    }
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\t' => out.push_str("\\t"),
            c if is_harmful(c) => push_unit(out, c),
            c => out.push(c),
        }
    }
}

/// Returns finished JSON (or TOML) with the harmful characters of its strings as `\u202e`, which means the same. Its line
/// breaks stay: they stand between values.
pub fn finished_json(json: &str) -> Cow<'_, str> {
    if !json.contains(|c| is_harmful(c) && c != '\n') {
        return Cow::Borrowed(json);
    }
    let mut safe = String::with_capacity(json.len() + 32);
    for c in json.chars() {
        if is_harmful(c) && c != '\n' { push_unit(&mut safe, c) } else { safe.push(c) }
    }
    Cow::Owned(safe)
}

/// Serializes a value as JSON that is safe to print; nothing where it cannot be written as JSON.
pub fn json_of<T: serde::Serialize>(value: &T) -> Option<String> {
    let json = serde_json::to_string(value).ok()?;
    Some(match finished_json(&json) {
        Cow::Borrowed(_) => json,
        Cow::Owned(safe) => safe,
    })
}

fn push_unit(out: &mut String, c: char) {
    for unit in c.encode_utf16(&mut [0; 2]) {
        let _ = write!(out, "\\u{unit:04x}");
    }
}

/// Returns true for printable ASCII and tabs, which is what most texts are.
fn is_plain(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b'\t' | b' '..=b'~'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOSTILE: &str =
        "\x1b[2Jgone\rover \x07 \u{7f}\u{9b} \u{fffd} \tkept \u{2028}\u{2029} \u{202e}txt.exe\u{2066}\u{61c}";

    #[test]
    fn hostile_text_is_escaped() {
        let expected = "\\u{1b}[2Jgone\\rover \\u{7} \\u{7f}\\u{9b} \u{fffd} \tkept \\u{2028}\\u{2029} \
                        \\u{202e}txt.exe\\u{2066}\\u{61c}";
        assert_eq!(escape(HOSTILE), expected);
        assert_eq!(escape_lines(&format!("{HOSTILE}\n{HOSTILE}")), format!("{expected}\n{expected}"));
    }

    #[test]
    fn excerpt_is_cut_at_characters() {
        assert_eq!(excerpt("{\"a\":\"ü\u{1b}[2J\r\u{202e}\"}", 100), r#"{"a":"ü\u{1b}[2J\r\u{202e}"}"#);
        assert_eq!(excerpt(&"ü".repeat(1000), 120), "ü".repeat(120) + "…");
        assert_eq!(excerpt("\n\n\n", 3), "\\n\\n\\n");
    }

    #[test]
    fn json_string_gives_every_character_back() {
        let text: String = ('\0'..='\u{2100}').chain("🦀\u{e0001}\u{feff}".chars()).collect();
        let mut json = String::from("\"");
        push_json(&mut json, &text);
        json.push('"');
        let finished = json_of(&text).unwrap();
        for json in [json, finished] {
            assert!(!json.chars().any(|c| is_harmful(c) || c == '\t'));
            assert_eq!(serde_json::from_str::<String>(&json).unwrap(), text);
        }
        assert_eq!(finished_json("{\n\"a\":1}\n"), "{\n\"a\":1}\n");
    }
}
