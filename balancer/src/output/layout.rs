//! The format of a worker's line in a log. Pure.

use super::lines::LogLine;
use crate::config::LineFormat;
use crate::printable::{is_harmful, push_json, push_text};
use crate::rotation::SlotId;
use crate::stats::Stream;

/// The mark behind a line that continues in the next line of its stream.
const CUT: &str = " [cut]";

/// The worker process that a line comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LineSource {
    /// The pool's name.
    pub pool: String,
    /// The worker's slot in the pool.
    pub slot: SlotId,
    /// The process id.
    pub pid: u32,
    /// The number of the process in its slot, from 1.
    pub incarnation: u64,
    /// Its generation, which a reload increments.
    pub generation: u64,
}

/// The text before and behind the lines of one stream of one process.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    before_time: &'static str,
    has_time: bool,
    head: String,
    is_json: bool,
}

impl Layout {
    /// Sets up the layout. Set `has_time` for destinations that do not add the time themselves, unlike terminals and
    /// collectors; JSON always has it.
    pub(super) fn new(format: LineFormat, has_time: bool, line_source: &LineSource, stream: Stream) -> Self {
        let LineSource { pool, slot, pid, incarnation, generation } = line_source;
        let stream = stream.name();
        match (format, has_time) {
            (LineFormat::Text, false) => Self::text(false, format!("{pool}/{slot} | ")),
            (LineFormat::Text, true) => Self::text(true, format!(" {pool}/{slot} {stream} | ")),
            (LineFormat::Json, _) => {
                let mut head = String::from("\",\"pool\":\"");
                push_json(&mut head, pool);
                head.push_str(&format!(
                    "\",\"worker\":{slot},\"pid\":{pid},\"generation\":{generation},\"incarnation\":{incarnation},\"stream\":\"{stream}\",\"line\":\""
                ));
                Self { before_time: "{\"ts\":\"", has_time: true, head, is_json: true }
            }
        }
    }

    fn text(has_time: bool, head: String) -> Self {
        debug_assert!(!head.contains(is_harmful));
        Self { before_time: "", has_time, head, is_json: false }
    }

    /// Appends the line and a line end. `time` is RFC 3339.
    pub(super) fn push(&self, out: &mut String, time: &str, line: LogLine<'_>) {
        out.push_str(self.before_time);
        if self.has_time {
            out.push_str(time);
        }
        out.push_str(&self.head);
        match (self.is_json, line.goes_on) {
            (true, goes_on) => {
                push_json(out, line.text);
                out.push_str(if goes_on { "\",\"cut\":true}" } else { "\"}" });
            }
            (false, goes_on) => {
                push_text(out, line.text);
                out.push_str(if goes_on { CUT } else { "" });
            }
        }
        out.push('\n');
    }
}

#[cfg(test)]
mod tests {
    use super::super::lines::Lines;
    use super::*;
    use proptest::prelude::*;

    const TIME: &str = "2026-01-02T03:04:05.678Z";

    fn line_source() -> LineSource {
        LineSource { pool: "api".into(), slot: SlotId(2), pid: 4711, incarnation: 3, generation: 1 }
    }

    fn written(format: LineFormat, has_time: bool, line: LogLine<'_>) -> String {
        let mut out = String::new();
        Layout::new(format, has_time, &line_source(), Stream::Stderr).push(&mut out, TIME, line);
        out
    }

    #[test]
    fn line_names_the_worker_that_wrote_it() {
        let line = LogLine { text: "it \"works\"\x07", goes_on: false };
        assert_eq!(written(LineFormat::Text, false, line), "api/2 | it \"works\"\\u{7}\n");
        assert_eq!(
            written(LineFormat::Text, true, line),
            "2026-01-02T03:04:05.678Z api/2 stderr | it \"works\"\\u{7}\n"
        );
        let json = "{\"ts\":\"2026-01-02T03:04:05.678Z\",\"pool\":\"api\",\"worker\":2,\"pid\":4711,\"generation\":1,\"incarnation\":3,\
                    \"stream\":\"stderr\",\"line\":\"it \\\"works\\\"\\u0007\"}\n";
        assert_eq!(written(LineFormat::Json, false, line), json);
    }

    #[test]
    fn cut_line_is_marked_as_cut() {
        let line = LogLine { text: "x", goes_on: true };
        assert_eq!(written(LineFormat::Text, false, line), "api/2 | x [cut]\n");
        assert!(written(LineFormat::Json, true, line).ends_with("\"line\":\"x\",\"cut\":true}\n"));
    }

    /// Bytes that a worker may write; harmful sequences occur more often than in random bytes.
    fn bytes() -> impl Strategy<Value = Vec<u8>> {
        let harm = prop::sample::select(vec![
            &b"\n"[..],
            b"\r\n",
            b"\r",
            b"\x1b[31m",
            b"\0",
            b"\x7f",
            b"\xc2\x85",
            b"\xe2\x80\xa8",
            b"\xe2\x80\xae",
            b"\xff\xfe",
            b"\xf0\x9f",
            b"\"}\\u000a\\",
            "é🦀".as_bytes(),
        ]);
        let part = prop_oneof![
            harm.prop_map(<[u8]>::to_vec),
            prop::collection::vec(any::<u8>(), 0..40),
            Just(vec![b'x'; 9000])
        ];
        prop::collection::vec(part, 0..12).prop_map(|parts| parts.concat())
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn any_output_is_one_line_per_event_and_json_restores_text(bytes in bytes()) {
            let mut events = Vec::new();
            let mut lines = Lines::default();
            for chunk in bytes.chunks(1000) {
                lines.feed(chunk, |line| events.push((line.text.to_owned(), line.goes_on)));
            }
            lines.finish(|line| events.push((line.text.to_owned(), line.goes_on)));

            for (text, goes_on) in &events {
                let line = LogLine { text, goes_on: *goes_on };
                for written in [written(LineFormat::Text, true, line), written(LineFormat::Json, true, line)] {
                    let one = written.strip_suffix('\n').unwrap();
                    prop_assert!(!one.contains(is_harmful), "{one:?}");
                    prop_assert!(written.len() < 100 << 10, "what the smallest file has room for");
                }
                let json: serde_json::Value = serde_json::from_str(&written(LineFormat::Json, true, line)).unwrap();
                prop_assert_eq!(json["line"].as_str(), Some(text.as_str()));
                prop_assert_eq!(json["cut"].as_bool(), goes_on.then_some(true));
            }
            // Joined again, the events are the text that the worker wrote.
            let mut whole = String::new();
            for (text, goes_on) in &events {
                whole.push_str(text);
                whole.push_str(if *goes_on { "" } else { "\n" });
            }
            let meant = String::from_utf8_lossy(&bytes).replace("\r\n", "\n");
            prop_assert_eq!(whole.trim_end_matches('\n'), meant.strip_suffix('\r').unwrap_or(&meant).trim_end_matches('\n'));
        }
    }
}
