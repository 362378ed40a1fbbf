//! Amounts of bytes.

use super::super::value::{Raw, Value};
use super::{Codec, Wrong, because, quoted};

/// The smallest size of a log file. One line fits with room to spare, even with every byte escaped and its name before
/// it.
const SMALLEST: u64 = 128 << 10;
const LARGEST: u64 = 1 << 40;

const UNITS: [(&str, u64); 3] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];

/// The size of a log file.
pub(in crate::config) const FILE_SIZE: Codec<u64> = Codec {
    expects: "a size such as \"50MiB\" or \"512KiB\", or a number of bytes",
    read: |value| match read_size(value)? {
        size if size < SMALLEST => {
            because(format!("{} is too small for a log file", size_text(size)), "at least 128KiB")
        }
        size if size > LARGEST => because("this is too large for a log file", "at most 1024GiB"),
        size => Ok(size),
    },
    show: |size| Some(if size.is_multiple_of(1 << 10) { quoted(&size_text(*size)) } else { size.to_string() }),
};

/// A bound on memory.
pub(in crate::config) const SIZE_OR_OFF: Codec<Option<u64>> = Codec {
    expects: "\"off\" or a size of at least 1MiB, such as \"512MiB\" or \"2GiB\"",
    read: |value| match value.text() {
        Some("off") => Ok(None),
        _ => read_size(value).and_then(|size| if size < 1 << 20 { Err(Wrong::Expected) } else { Ok(Some(size)) }),
    },
    show: |size| Some(size.map_or_else(|| quoted("off"), |size| quoted(&size_text(size)))),
};

fn read_size(value: &Value) -> Result<u64, Wrong> {
    if let Raw::Integer(bytes) = value.raw {
        return u64::try_from(bytes).map_err(|_| Wrong::Expected);
    }
    let text = value.text().ok_or(Wrong::Expected)?.trim();
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    let number: u64 = number.parse().map_err(|_| Wrong::Expected)?;
    let unit = unit.trim();
    if unit.is_empty() {
        return Ok(number);
    }
    let Some((_, bytes)) = UNITS.iter().find(|(name, _)| *name == unit) else {
        // "50MB" may mean 50 × 10⁶ or 50 × 2²⁰ bytes, so it is refused.
        let meant = |(name, _): &&(&str, u64)| unit.to_uppercase().starts_with(&name[..1]);
        return Err(UNITS
            .iter()
            .find(meant)
            .map_or(Wrong::Expected, |(name, _)| Wrong::Nearly(format!("did you mean \"{number}{name}\"?"))));
    };
    Ok(number.saturating_mul(*bytes))
}

/// Writes a size in the largest unit that divides it.
fn size_text(size: u64) -> String {
    let unit = UNITS.iter().find(|(_, bytes)| size >= *bytes && size.is_multiple_of(*bytes));
    unit.map_or_else(|| format!("{size} bytes"), |(name, bytes)| format!("{}{name}", size / bytes))
}

#[cfg(test)]
mod tests {
    use super::super::super::problem::Position;
    use super::*;

    fn read(raw: Raw) -> Result<u64, String> {
        (FILE_SIZE.read)(&Value::new(raw, Position::Default)).map_err(|wrong| match wrong {
            Wrong::Expected => "expected".to_owned(),
            Wrong::Nearly(label) => label,
            Wrong::Because { message, label, .. } => format!("{message} | {}", label.unwrap_or_default()),
        })
    }

    #[test]
    fn sizes_are_bytes_or_have_a_binary_unit() {
        for (text, bytes) in [
            ("50MiB", 50 << 20),
            ("512KiB", 512 << 10),
            (" 2 GiB ", 2 << 30),
            ("200000", 200_000),
            ("128KiB", SMALLEST),
        ] {
            assert_eq!(read(Raw::Text(text.to_owned())), Ok(bytes), "{text}");
        }
        assert_eq!(read(Raw::Integer(1 << 20)), Ok(1 << 20));
        for (text, why) in [
            ("", "expected"),
            ("MiB", "expected"),
            ("-1MiB", "expected"),
            ("1.5GiB", "expected"),
            ("50 parsecs", "expected"),
            ("50MB", "did you mean \"50MiB\"?"),
            ("50m", "did you mean \"50MiB\"?"),
            ("1KiB", "1KiB is too small for a log file | at least 128KiB"),
            ("99999999999999999999GiB", "expected"),
            ("9999999999999999999GiB", "this is too large for a log file | at most 1024GiB"),
        ] {
            assert_eq!(read(Raw::Text(text.to_owned())), Err(why.to_owned()), "{text}");
        }
        assert_eq!(read(Raw::Integer(-1)), Err("expected".to_owned()));
    }

    #[test]
    fn size_is_shown_as_it_would_be_written() {
        let shown = |size: u64| (FILE_SIZE.show)(&size);
        assert_eq!(shown(50 << 20).as_deref(), Some("\"50MiB\""));
        assert_eq!(shown(1536 << 10).as_deref(), Some("\"1536KiB\""));
        assert_eq!(shown(200_001).as_deref(), Some("200001"));
    }
}
