//! Splits bytes into lines. Pure.

/// A line with more bytes than this is cut, and continues as the next line.
const MAX_LINE: usize = 16 << 10;

/// One line of a stream, or a piece of a long one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LogLine<'a> {
    /// The text without its line end. As the worker wrote it, except that bytes that are not UTF-8 are U+FFFD here.
    pub(super) text: &'a str,
    /// True if it was cut: the next line of the stream is the rest of it.
    pub(super) goes_on: bool,
}

/// Splits a stream into lines of at most 16 KiB.
#[derive(Debug, Default)]
pub(super) struct Lines {
    partial: Vec<u8>,
}

impl Lines {
    /// Takes the next bytes; calls `out` for each line they complete.
    pub(super) fn feed(&mut self, mut bytes: &[u8], mut out: impl FnMut(LogLine<'_>)) {
        while let Some(&next) = bytes.first() {
            let room = MAX_LINE.saturating_sub(self.partial.len());
            if room == 0 && next != b'\n' {
                self.cut(&mut out);
                continue;
            }
            let end = bytes.iter().take(room + 1).position(|&byte| byte == b'\n');
            let (part, rest) = bytes.split_at(end.unwrap_or(room.min(bytes.len())));
            self.partial.extend_from_slice(part);
            bytes = rest;
            if end.is_some() {
                bytes = rest.get(1..).unwrap_or_default();
                self.end(&mut out);
            }
        }
    }

    /// Ends the stream: the bytes that are left are a line too.
    pub(super) fn finish(mut self, mut out: impl FnMut(LogLine<'_>)) {
        if !self.partial.is_empty() {
            self.end(&mut out);
        }
    }

    fn end(&mut self, out: &mut impl FnMut(LogLine<'_>)) {
        let line = self.partial.strip_suffix(b"\r").unwrap_or(&self.partial);
        out(LogLine { text: &String::from_utf8_lossy(line), goes_on: false });
        self.partial.clear();
    }

    fn cut(&mut self, out: &mut impl FnMut(LogLine<'_>)) {
        let end = whole_characters(&self.partial);
        let piece = self.partial.get(..end).unwrap_or_default();
        out(LogLine { text: &String::from_utf8_lossy(piece), goes_on: true });
        self.partial.drain(..end);
    }
}

/// The number of bytes before a last character that may be incomplete. Never 0 for more than three bytes.
fn whole_characters(bytes: &[u8]) -> usize {
    for (back, byte) in bytes.iter().rev().take(3).enumerate() {
        let length = match byte {
            0x80..=0xbf => continue,
            0xc2..=0xdf => 2,
            0xe0..=0xef => 3,
            0xf0..=0xf4 => 4,
            _ => 1,
        };
        let seen = back + 1;
        return if length > seen { bytes.len() - seen } else { bytes.len() };
    }
    bytes.len()
}

/// Splits any bytes into lines, whole and in pieces: both must give the same, and no line is longer than allowed. The
/// first byte is the size of the pieces, the second how often the rest comes, as a line that is cut is long.
#[cfg(feature = "fuzzing")]
pub fn fuzz(bytes: &[u8]) {
    let [size, times, rest @ ..] = bytes else { return };
    let bytes = rest.repeat(usize::from(*times) + 1);
    let split = |size: usize| {
        let (mut lines, mut found) = (Lines::default(), Vec::new());
        for piece in bytes.chunks(size) {
            lines.feed(piece, |line| found.push((line.text.to_owned(), line.goes_on)));
        }
        lines.finish(|line| found.push((line.text.to_owned(), line.goes_on)));
        found
    };
    let whole = split(usize::MAX);
    assert_eq!(whole, split(usize::from(*size) + 1));
    for (text, _) in &whole {
        // A byte that is no UTF-8 becomes three.
        assert!(text.len() <= 3 * MAX_LINE && !text.contains('\n'), "{} bytes", text.len());
        let printed = crate::printable::escape(text);
        assert!(!printed.chars().any(crate::printable::is_harmful), "{printed:?}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(chunks: &[&[u8]]) -> Vec<(String, bool)> {
        let mut seen = Vec::new();
        let mut lines = Lines::default();
        for chunk in chunks {
            lines.feed(chunk, |line| seen.push((line.text.to_owned(), line.goes_on)));
        }
        lines.finish(|line| seen.push((line.text.to_owned(), line.goes_on)));
        seen
    }

    fn texts(chunks: &[&[u8]]) -> Vec<String> {
        split(chunks).into_iter().map(|(text, _)| text).collect()
    }

    #[test]
    fn lines_are_whole_however_the_bytes_arrive() {
        assert_eq!(texts(&[b"one\ntw", b"o\r\n", b"\nlast"]), ["one", "two", "", "last"]);
        assert_eq!(texts(&[]), [""; 0]);
    }

    #[test]
    fn line_without_end_is_cut_at_limit_and_loses_nothing() {
        let long = vec![b'x'; MAX_LINE * 2 + 5];
        let seen = split(&[&long, b"\nnext\n"]);
        let seen: Vec<_> = seen.iter().map(|(text, goes_on)| (text.len(), *goes_on)).collect();
        assert_eq!(seen, [(MAX_LINE, true), (MAX_LINE, true), (5, false), (4, false)]);
    }

    #[test]
    fn line_that_just_fits_is_one_line() {
        let fits = "x".repeat(MAX_LINE);
        for end in ["\n", "\r\n", ""] {
            let seen = split(&[fits.as_bytes(), end.as_bytes()]);
            // A carriage return counts as a byte of the line until its end is seen.
            let last = if end == "\r\n" {
                vec![(fits.clone(), true), (String::new(), false)]
            } else {
                vec![(fits.clone(), false)]
            };
            assert_eq!(seen, last, "{end:?}");
        }
    }

    #[test]
    fn no_character_is_cut_in_two() {
        for c in ["é", "€", "🦀"] {
            for shift in 0..4 {
                let text = "x".repeat(MAX_LINE - shift) + c + "rest";
                let seen = split(&[text.as_bytes(), b"\n"]);
                assert_eq!(seen.iter().map(|(text, _)| text.as_str()).collect::<String>(), text);
                assert_eq!(seen.iter().map(|(_, goes_on)| *goes_on).collect::<Vec<_>>(), [true, false]);
            }
        }
    }

    #[test]
    fn invalid_utf8_does_not_delay_a_line() {
        for byte in [0x80, 0xbf, 0xc2, 0xf0, 0xff] {
            let seen = split(&[&vec![byte; MAX_LINE * 2]]);
            assert_eq!(seen.iter().map(|(text, _)| text.chars().count()).sum::<usize>(), MAX_LINE * 2, "{byte:x}");
            assert!(seen.iter().all(|(text, _)| text.chars().all(|c| c == '\u{fffd}')));
        }
    }
}
