//! Reads the message for workers: JSON, or a text that becomes a JSON string.

use std::io::Read;

use serde::de::IgnoredAny;

use crate::admin::commands::LONGEST_MESSAGE;
use crate::api::format::escape;
use crate::cli::target::Target;
use crate::failure::{Failure, code};
use crate::pool::operation::SlotRange;

/// Returns the JSON text of the argument; with `-` it is read from `stdin`.
///
/// # Errors
///
/// With [`code::USAGE`] if it is not JSON, is too long or cannot be read; a hint shows the quotes that the shell needs.
pub(super) fn json(argument: &str, is_text: bool, stdin: impl Read) -> Result<String, Failure> {
    let is_stdin = argument == "-";
    let mut said = if is_stdin { read(stdin)? } else { argument.to_owned() };
    if is_text {
        if is_stdin && said.ends_with('\n') {
            said.pop();
        }
        said = serde_json::Value::String(said).to_string();
    }
    let what = if is_stdin { "standard input".to_owned() } else { format!("`{}`", escape(argument)) };
    if said.len() > LONGEST_MESSAGE {
        return Err(too_long(&what));
    }
    match serde_json::from_str::<IgnoredAny>(&said) {
        Ok(_) => Ok(said),
        Err(error) => Err(Failure::new(code::USAGE, format!("{what} is not JSON")).cause(error).hint(hint(&said))),
    }
}

/// Returns the body of the command.
pub(super) fn body(target: &Target, json: &str) -> String {
    match target.slots {
        SlotRange::All => format!(r#"{{"message":{json}}}"#),
        SlotRange::Slots(first, last) => format!(r#"{{"message":{json},"slots":"{first}-{last}"}}"#),
    }
}

fn read(stdin: impl Read) -> Result<String, Failure> {
    let mut bytes = Vec::new();
    let failed = |cause: String| Failure::new(code::USAGE, "cannot take the message from standard input").cause(cause);
    // Reads one byte more, to notice a text that is too long.
    let read = stdin.take(LONGEST_MESSAGE as u64 + 1).read_to_end(&mut bytes);
    read.map_err(|error| failed(error.to_string()))?;
    if bytes.len() > LONGEST_MESSAGE {
        return Err(too_long("standard input"));
    }
    String::from_utf8(bytes).map_err(|error| failed(format!("it is not UTF-8: {}", error.utf8_error())))
}

fn too_long(what: &str) -> Failure {
    Failure::new(code::USAGE, format!("{what} is larger than 1 MiB, the limit of a message"))
}

/// Returns the JSON that was probably meant: shells remove the quotes that it needs.
fn hint(said: &str) -> String {
    let is_plain = !said.is_empty() && said.len() <= 60 && said.chars().all(|c| !c.is_control() && c != '\'');
    match said.trim_start().chars().next() {
        Some('{' | '[' | '"') => {
            r#"put single quotes around all of it, so that the shell keeps its quotes: '{"cmd":"flush-cache"}'"#
                .to_owned()
        }
        Some(_) if is_plain => {
            let quoted = serde_json::Value::String(said.to_owned());
            format!("a JSON string needs quotes of its own: write '{quoted}', or use --text")
        }
        _ => r#"a JSON string needs quotes of its own: write '"reload-config"', or use --text"#.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(argument: &str, is_text: bool, stdin: &[u8]) -> Result<String, Failure> {
        json(argument, is_text, stdin)
    }

    #[test]
    fn json_is_said_as_it_was_written_and_text_as_a_string() {
        for argument in [r#"{"cmd": "flush-cache"}"#, r#""reload-config""#, "-5", "null", " [1,\n2] ", "1e999"] {
            assert_eq!(of(argument, false, b"").unwrap(), argument);
            assert_eq!(of("-", false, argument.as_bytes()).unwrap(), argument);
        }
        for (argument, stdin, expected) in [
            ("reload-config", "", r#""reload-config""#),
            ("", "", r#""""#),
            ("5", "", r#""5""#),
            ("a\"\n", "", r#""a\"\n""#),
            ("-", "two\nlines\n", r#""two\nlines""#),
        ] {
            assert_eq!(of(argument, true, stdin.as_bytes()).unwrap(), expected);
        }
    }

    #[test]
    fn invalid_json_is_wrong_usage_with_a_hint_for_the_shell() {
        for (argument, error, hint) in [
            ("reload-config", "`reload-config` is not JSON", "'\"reload-config\"', or use --text"),
            ("{cmd:flush}", "`{cmd:flush}` is not JSON", "single quotes around all of it"),
            ("{\"a\":1", "`{\"a\":1` is not JSON", "single quotes around all of it"),
            ("1 2", "`1 2` is not JSON", "'\"1 2\"'"),
            ("it's", "`it's` is not JSON", "'\"reload-config\"', or use --text"),
            ("", "`` is not JSON", "or use --text"),
            ("\u{1b}[2J", "`\\u{1b}[2J` is not JSON", "or use --text"),
        ] {
            let failure = of(argument, false, b"").unwrap_err();
            assert_eq!((failure.code, failure.error.as_str()), (code::USAGE, error));
            assert!(failure.cause.is_some() && failure.hint.unwrap().contains(hint), "{argument}");
        }
        let failure = of("-", false, b"").unwrap_err();
        assert_eq!((failure.code, failure.error.as_str()), (code::USAGE, "standard input is not JSON"));
        let failure = of("-", true, b"a\xff").unwrap_err();
        assert!(failure.code == code::USAGE && failure.cause.unwrap().contains("not UTF-8"));
    }

    #[test]
    fn message_is_bounded_and_no_more_of_stdin_is_read() {
        let longest = format!("\"{}\"", "x".repeat(LONGEST_MESSAGE - 2));
        assert_eq!(of("-", false, longest.as_bytes()).unwrap(), longest);
        assert_eq!(of("-", true, &longest.as_bytes()[1..LONGEST_MESSAGE - 1]).unwrap(), longest);
        // As a JSON string it has two quotes more.
        for (stdin, is_text) in [(&longest[1..], true), (&format!("{longest} "), false)] {
            let failure = of("-", is_text, stdin.as_bytes()).unwrap_err();
            assert_eq!(failure.code, code::USAGE);
            assert!(failure.error.contains("larger than 1 MiB"), "{failure}");
        }
        let endless = json("-", true, std::io::repeat(b'x')).unwrap_err();
        assert!(endless.error.contains("larger than 1 MiB"));
    }

    #[test]
    fn body_names_the_workers() {
        let body = |target: &str| body(&Target::parse(target).unwrap(), "{\"a\":1}");
        assert_eq!(body("api"), r#"{"message":{"a":1}}"#);
        assert_eq!(body("api/2"), r#"{"message":{"a":1},"slots":"2-2"}"#);
    }
}
