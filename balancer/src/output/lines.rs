//! From bytes to printable lines. Pure.

/// A longer line is cut here and goes on as the next one.
const MAX_LINE: usize = 16 << 10;

/// Splits a stream into lines of at most 16 KiB, with every control character escaped.
///
/// A worker's text goes to terminals and log files: a raw escape sequence could rewrite them, a raw carriage return could
/// hide a line.
#[derive(Debug, Default)]
pub(super) struct Lines {
    partial: Vec<u8>,
}

impl Lines {
    /// Takes the next bytes; calls `out` for each line they complete.
    pub(super) fn feed(&mut self, mut bytes: &[u8], mut out: impl FnMut(&str)) {
        while !bytes.is_empty() {
            let room = MAX_LINE - self.partial.len();
            let end = bytes.iter().take(room).position(|&byte| byte == b'\n');
            let (line, rest) = bytes.split_at(end.unwrap_or(room.min(bytes.len())));
            self.partial.extend_from_slice(line);
            bytes = if end.is_some() { rest.get(1..).unwrap_or_default() } else { rest };
            if end.is_some() || self.partial.len() == MAX_LINE {
                self.emit(&mut out);
            }
        }
    }

    /// The stream has ended: what is left is a line too.
    pub(super) fn finish(mut self, mut out: impl FnMut(&str)) {
        if !self.partial.is_empty() {
            self.emit(&mut out);
        }
    }

    fn emit(&mut self, out: &mut impl FnMut(&str)) {
        out(&escape(&String::from_utf8_lossy(&self.partial)));
        self.partial.clear();
    }
}

/// Escapes control characters but the tab; drops a line's final carriage return.
fn escape(line: &str) -> String {
    let line = line.strip_suffix('\r').unwrap_or(line);
    let mut escaped = String::with_capacity(line.len());
    for c in line.chars() {
        match c {
            '\t' => escaped.push(c),
            // Line and paragraph separator end a line for some readers.
            c if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') => escaped.extend(c.escape_unicode()),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(chunks: &[&[u8]]) -> Vec<String> {
        let mut seen = Vec::new();
        let mut lines = Lines::default();
        for chunk in chunks {
            lines.feed(chunk, |line| seen.push(line.to_owned()));
        }
        lines.finish(|line| seen.push(line.to_owned()));
        seen
    }

    #[test]
    fn lines_are_whole_however_the_bytes_arrive() {
        assert_eq!(split(&[b"one\ntw", b"o\r\n", b"\nlast"]), ["one", "two", "", "last"]);
        assert_eq!(split(&[]), [""; 0]);
    }

    #[test]
    fn a_line_without_end_is_cut_at_its_limit_and_loses_nothing() {
        let long = vec![b'x'; MAX_LINE * 2 + 5];
        let seen = split(&[&long, b"\nnext\n"]);
        assert_eq!(seen.iter().map(String::len).collect::<Vec<_>>(), [MAX_LINE, MAX_LINE, 5, 4]);
    }

    #[test]
    fn nothing_a_worker_writes_controls_a_terminal() {
        let seen = split(&[b"\x1b[2Jgone\rover \x07 \xff \tkept \xe2\x80\xa8\n"]);
        assert_eq!(seen, ["\\u{1b}[2Jgone\\u{d}over \\u{7} \u{fffd} \tkept \\u{2028}"]);
    }
}
