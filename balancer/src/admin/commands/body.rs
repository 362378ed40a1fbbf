//! Reads the body of a command. Pure.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::ControlCommand;
use crate::config::MOST_WORKERS;
use crate::pool::message::Message;
use crate::pool::operation::{OperationKind, SlotRange};
use crate::strategy;

/// The longest JSON text of a message to workers, in bytes. A worker made with `worker-runtime` takes less.
pub const LONGEST_MESSAGE: usize = 1024 * 1024;

/// The number of workers that a `scale` asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// This many, 1 to [`MOST_WORKERS`].
    Exactly(u32),
    /// This many more than now.
    More(u32),
    /// This many fewer than now.
    Fewer(u32),
    /// One for each CPU.
    Max,
    /// min(CPUs, 4).
    Auto,
}

impl Size {
    /// Reads `4`, `+1`, `-1`, `max` or `auto`; `None` if it is something else or not a possible count of workers.
    pub fn parse(text: &str) -> Option<Self> {
        let count = |digits: &str| {
            let is_plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
            digits.parse::<u32>().ok().filter(|n| is_plain && (1..=MOST_WORKERS).contains(n))
        };
        match (text, text.as_bytes().first()?) {
            ("max", _) => Some(Size::Max),
            ("auto", _) => Some(Size::Auto),
            (_, b'+') => count(&text[1..]).map(Size::More),
            (_, b'-') => count(&text[1..]).map(Size::Fewer),
            _ => count(text).map(Size::Exactly),
        }
    }

    /// Returns the number of workers for a pool that has `now` workers and may use `cpus` CPUs.
    ///
    /// # Errors
    ///
    /// A sentence that says why the pool cannot have that many.
    pub fn resolve(self, now: u32, cpus: usize) -> Result<u32, String> {
        let wanted = match self {
            Size::Exactly(n) => i64::from(n),
            Size::More(n) => i64::from(now) + i64::from(n),
            Size::Fewer(n) => i64::from(now) - i64::from(n),
            Size::Max => i64::from(crate::config::WorkerCount::Max.resolve(cpus)),
            Size::Auto => i64::from(crate::config::WorkerCount::Auto.resolve(cpus)),
        };
        match u32::try_from(wanted) {
            Ok(wanted) if (1..=MOST_WORKERS).contains(&wanted) => Ok(wanted),
            _ => Err(format!("a pool has 1 to {MOST_WORKERS} workers; it has {now}, you asked for {wanted}")),
        }
    }
}

impl std::fmt::Display for Size {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Size::Exactly(n) => n.fmt(f),
            Size::More(n) => write!(f, "+{n}"),
            Size::Fewer(n) => write!(f, "-{n}"),
            Size::Max => f.write_str("max"),
            Size::Auto => f.write_str("auto"),
        }
    }
}

/// Reads slots: `3`, or `0-3` with both ends included; `None` if it is something else.
pub fn slots(text: &str) -> Option<SlotRange> {
    let number = |digits: &str| {
        let is_plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        digits.parse::<u32>().ok().filter(|_| is_plain)
    };
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (number(first)?, number(last)?);
    (first <= last).then_some(SlotRange::Slots(first, last))
}

/// Returns the command `verb` on `pool` with this body. An empty body leaves every option at its default.
///
/// # Errors
///
/// The text says what the body must look like. It repeats nothing of the body.
pub(super) fn on_pool(verb: OperationKind, pool: &str, body: &[u8]) -> Result<ControlCommand, &'static str> {
    let pool = pool.to_owned();
    Ok(match verb {
        OperationKind::Reload => {
            nothing(body)?;
            ControlCommand::Reload { pool: Some(pool) }
        }
        OperationKind::Scale => ControlCommand::Scale { pool, workers: workers(body)? },
        OperationKind::Restart => ControlCommand::Restart { pool, slots: slots_of(body)? },
        OperationKind::Stop => ControlCommand::Stop { pool, slots: slots_of(body)? },
        OperationKind::Start => ControlCommand::Start { pool, slots: slots_of(body)? },
        OperationKind::Strategy => ControlCommand::Strategy { pool, name: strategy(body)? },
    })
}

/// Returns the command that reloads all pools.
pub(super) fn reload(body: &[u8]) -> Result<ControlCommand, &'static str> {
    nothing(body)?;
    Ok(ControlCommand::Reload { pool: None })
}

/// Returns the command that ends the master.
pub(super) fn shutdown(body: &[u8]) -> Result<ControlCommand, &'static str> {
    #[derive(Default, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Body {
        #[serde(default)]
        now: bool,
    }
    let body: Body = read(body, r#"the body may be {"now": true}"#)?;
    Ok(ControlCommand::Shutdown { now: body.now })
}

/// Reads a message for workers of `pool`. Its JSON is passed on as written, so that a number keeps all its digits.
pub(super) fn message(pool: &str, body: &[u8]) -> Result<ControlCommand, &'static str> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Body<'a> {
        #[serde(borrow)]
        message: &'a RawValue,
        slots: Option<String>,
    }
    const EXPECTED: &str = r#"the body must be {"message": JSON}, and may have "slots": "2" or "0-3""#;
    let body: Body<'_> = match body.trim_ascii_start() {
        body @ [b'{', ..] => serde_json::from_slice(body).map_err(|_| EXPECTED)?,
        _ => return Err(EXPECTED),
    };
    let slots = body.slots.map_or(Ok(SlotRange::All), |text| slots(&text).ok_or(EXPECTED))?;
    Ok(ControlCommand::Message {
        pool: pool.to_owned(),
        message: Message { slots, json: body.message.get().to_owned() },
    })
}

fn workers(body: &[u8]) -> Result<Size, &'static str> {
    #[derive(Default, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Body {
        workers: Option<Count>,
    }
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Count {
        Number(u32),
        Word(String),
    }
    const EXPECTED: &str = r#"the body must be {"workers": N}: 1 to 1024, "+N", "-N", "max" or "auto""#;
    let body: Body = read(body, EXPECTED)?;
    let size = match body.workers {
        Some(Count::Number(n)) => Size::parse(&n.to_string()),
        Some(Count::Word(word)) => Size::parse(&word),
        None => None,
    };
    size.ok_or(EXPECTED)
}

fn strategy(body: &[u8]) -> Result<&'static str, &'static str> {
    #[derive(Default, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Body {
        strategy: Option<String>,
    }
    const EXPECTED: &str = r#"the body must be {"strategy": NAME}, NAME as in a configuration"#;
    let body: Body = read(body, EXPECTED)?;
    body.strategy.and_then(|name| strategy::find(&name)).map(|entry| entry.name).ok_or(EXPECTED)
}

fn slots_of(body: &[u8]) -> Result<SlotRange, &'static str> {
    #[derive(Default, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Body {
        slots: Option<String>,
    }
    const EXPECTED: &str = r#"the body may be {"slots": "2"} or {"slots": "0-3"}"#;
    let body: Body = read(body, EXPECTED)?;
    body.slots.map_or(Ok(SlotRange::All), |text| slots(&text).ok_or(EXPECTED))
}

fn nothing(body: &[u8]) -> Result<(), &'static str> {
    #[derive(Default, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Body {}
    read::<Body>(body, "the body must be empty or {}").map(drop)
}

fn read<'a, T: Default + Deserialize<'a>>(body: &'a [u8], expected: &'static str) -> Result<T, &'static str> {
    // serde would also read an array as a struct, but only an object is valid here.
    match body.trim_ascii() {
        [] => Ok(T::default()),
        body @ [b'{', ..] => serde_json::from_slice(body).map_err(|_| expected),
        _ => Err(expected),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn size_is_a_count_a_step_or_a_word() {
        let sizes = ["4", "1024", "+1", "-2", "max", "auto"].map(Size::parse);
        let expected = [Size::Exactly(4), Size::Exactly(1024), Size::More(1), Size::Fewer(2), Size::Max, Size::Auto];
        assert_eq!(sizes, expected.map(Some));
        assert_eq!(expected.map(|size| size.to_string()), ["4", "1024", "+1", "-2", "max", "auto"]);
        for text in ["", "0", "+0", "-0", "1025", "+", "-", "++1", "+-1", "1.5", " 1", "٣", "all", "99999999999", "-é"]
        {
            assert_eq!(Size::parse(text), None, "{text}");
        }
    }

    #[test]
    fn pool_size_outside_one_to_the_limit_is_refused() {
        let resolve = |size: Size| size.resolve(2, 8).ok();
        let sizes = [Size::Exactly(7), Size::More(1), Size::Fewer(1), Size::Max, Size::Auto];
        assert_eq!(sizes.map(resolve), [7, 3, 1, 8, 4].map(Some));
        assert_eq!([Size::Fewer(2), Size::Fewer(9), Size::More(1024)].map(resolve), [None; 3]);
        let why = Size::Fewer(2).resolve(2, 8).unwrap_err();
        assert_eq!(why, "a pool has 1 to 1024 workers; it has 2, you asked for 0");
    }

    #[test]
    fn slots_are_one_or_a_range() {
        assert_eq!(["3", "0-3", "2-2"].map(slots), [(3, 3), (0, 3), (2, 2)].map(|(a, b)| Some(SlotRange::Slots(a, b))));
        for text in ["", "-", "3-", "-3", "3-2", "a", "1-2-3", "+1", "1,2", " 1", "4294967296"] {
            assert_eq!(slots(text), None, "{text}");
        }
    }

    #[test]
    fn message_is_any_json_value_kept_as_written() {
        let said = |body: &str| match message("api", body.as_bytes()) {
            Ok(ControlCommand::Message { pool, message: Message { slots, json } }) if pool == "api" => {
                Ok((slots, json))
            }
            Ok(other) => panic!("{other:?}"),
            Err(expected) => Err(expected),
        };
        for json in ["null", "\"a\"", "12345678901234567890123.0", "[ 1,\n2 ]", r#"{"a":{"a":1},"a":2}"#, "\"\\ud800\""]
        {
            let body = format!(r#" {{"message": {json}}}"#);
            assert_eq!(said(&body), Ok((SlotRange::All, json.to_owned())));
            let body = format!(r#"{{"slots":"1-2","message":{json} }}"#);
            assert_eq!(said(&body), Ok((SlotRange::Slots(1, 2), json.to_owned())));
        }
        for body in [
            "",
            "{}",
            "null",
            "\"a\"",
            r#"["a"]"#,
            r#"{"message":}"#,
            r#"{"message":a}"#,
            r#"{"message":1} 2"#,
            r#"{"message":1,"message":2}"#,
            r#"{"message":1,"slots":"2-1"}"#,
            r#"{"message":1,"slots":2}"#,
            r#"{"message":1,"text":2}"#,
        ] {
            assert!(said(body).unwrap_err().starts_with("the body must be"), "{body}");
        }
        assert!(message("api", b"{\"message\":\"\xff\"}").is_err(), "no UTF-8");
        let deep = format!(r#"{{"message":{}{}}}"#, "[".repeat(200_000), "]".repeat(200_000));
        assert!(said(&deep).is_ok_and(|(_, json)| json.len() == 400_000), "no stack is used up");
    }

    #[test]
    fn message_text_is_in_no_log() {
        let command = message("api", br#"{"message":{"password":"x"}}"#).unwrap();
        let expected = "Message { pool: \"api\", message: Message { slots: All, bytes: 16 } }";
        assert_eq!(format!("{command:?}"), expected);
    }

    #[test]
    fn bodies_become_control_commands() {
        let pool = || "api".to_owned();
        let scale = |workers| Ok(ControlCommand::Scale { pool: pool(), workers });
        assert_eq!(on_pool(OperationKind::Scale, "api", br#"{"workers": 4}"#), scale(Size::Exactly(4)));
        assert_eq!(on_pool(OperationKind::Scale, "api", br#"{"workers": "-1"}"#), scale(Size::Fewer(1)));
        for body in ["", " \n", "{}"] {
            let restart = on_pool(OperationKind::Restart, "api", body.as_bytes());
            assert_eq!(restart, Ok(ControlCommand::Restart { pool: pool(), slots: SlotRange::All }));
            assert_eq!(reload(body.as_bytes()), Ok(ControlCommand::Reload { pool: None }));
            assert_eq!(shutdown(body.as_bytes()), Ok(ControlCommand::Shutdown { now: false }));
        }
        let stop = on_pool(OperationKind::Stop, "api", br#" {"slots":"1-2"} "#);
        assert_eq!(stop, Ok(ControlCommand::Stop { pool: pool(), slots: SlotRange::Slots(1, 2) }));
        let strategy = on_pool(OperationKind::Strategy, "api", br#"{"strategy": "p2c"}"#);
        assert_eq!(strategy, Ok(ControlCommand::Strategy { pool: pool(), name: "p2c" }));
        for body in ["", "{}", r#"{"strategy":"p3c"}"#, r#"{"strategy":["p2c"]}"#] {
            assert!(on_pool(OperationKind::Strategy, "api", body.as_bytes()).is_err(), "{body}");
        }
        assert_eq!(shutdown(br#"{"now":true}"#), Ok(ControlCommand::Shutdown { now: true }));
    }

    #[test]
    fn bodies_that_are_anything_else_are_refused() {
        let deep = "[".repeat(60_000);
        for body in [
            "{",
            "[]",
            "[4]",
            "null",
            "4",
            "\"x\"",
            "{}{}",
            "{\"x\":1}",
            "{\"slots\":3}",
            "{\"slots\":\"a\"}",
            "{\"slots\":null,\"slots\":\"1\"}",
            "{\"workers\":0}",
            "{\"workers\":-1}",
            "{\"workers\":1.5}",
            "{\"workers\":1e999}",
            "{\"workers\":[[[]]]}",
            "{\"workers\":4,\"force\":true}",
            "{\"now\":\"true\"}",
            "\u{feff}{}",
            &deep,
        ] {
            for verb in OperationKind::ALL {
                let is_refused = on_pool(verb, "api", body.as_bytes()).is_err();
                assert!(is_refused, "{} {}", verb.name(), &body[..body.len().min(40)]);
            }
            assert!(reload(body.as_bytes()).is_err() && shutdown(body.as_bytes()).is_err(), "{body:.40}");
        }
        assert!(
            on_pool(OperationKind::Scale, "api", b"").is_err() && on_pool(OperationKind::Scale, "api", b"{}").is_err()
        );
        assert!(on_pool(OperationKind::Stop, "api", b"{\"slots\":\"\xff\"}").is_err());
    }
}
