//! The output of one process, read to the end of both streams.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::SystemTime;

use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe::Receiver;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::layout::Layout;
use super::lines::{Lines, LogLine};
use super::queue::Source;
use super::tail::Tail;
use super::writer::Writer;

/// When this many bytes are formatted, they are queued.
const MOST_AT_ONCE: usize = 32 << 10;

/// The captured output of one process.
#[derive(Debug)]
pub struct Capture {
    pub(super) ends: [JoinHandle<()>; 2],
    pub(super) tail: Tail,
    pub(super) close: CancellationToken,
}

impl Capture {
    /// Resolves when both streams have ended. A grandchild may hold a stream open for ever: put a deadline on it.
    pub async fn ended(&mut self) {
        for end in &mut self.ends {
            if !end.is_finished() {
                let _ = end.await;
            }
        }
    }

    /// Stops reading: for a stream that a process holds open which outlives the worker.
    pub fn close(&self) {
        self.close.cancel();
    }

    /// The last lines, oldest first; long lines are cut to their beginning.
    pub fn last_lines(&self) -> Arc<[String]> {
        self.tail.lines()
    }
}

/// Counts a stream as open from its beginning to its end.
pub(super) struct Open(Arc<AtomicUsize>);

impl Open {
    pub(super) fn count(open: &Arc<AtomicUsize>) -> Self {
        open.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(open))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Copies one stream of one process to its writer.
pub(super) struct Pump {
    pub(super) layout: Layout,
    pub(super) source: Source,
    pub(super) tail: Tail,
    /// `None` if the stream is only read and not written.
    pub(super) writer: Option<Writer>,
    pub(super) close: CancellationToken,
    pub(super) _open: Open,
}

impl Pump {
    pub(super) async fn run(self, pipe: OwnedFd) {
        let Ok(mut pipe) = Receiver::from_owned_fd(pipe) else { return };
        let mut lines = Lines::default();
        let mut chunk = vec![0; 16 << 10];
        let mut laid_out = LaidOut::default();
        while let Some(Ok(length @ 1..)) = self.close.run_until_cancelled(pipe.read(&mut chunk)).await {
            note_time(&mut laid_out.time);
            lines.feed(chunk.get(..length).unwrap_or_default(), |line| self.take(line, &mut laid_out));
            self.pass_on(&mut laid_out);
        }
        note_time(&mut laid_out.time);
        lines.finish(|line| self.take(line, &mut laid_out));
        self.pass_on(&mut laid_out);
    }

    fn take(&self, line: LogLine<'_>, to: &mut LaidOut) {
        self.tail.keep(line);
        if self.writer.is_none() {
            return self.source.count(true);
        }
        let before = to.text.len();
        self.layout.push(&mut to.text, &to.time, line);
        to.lengths.push(to.text.len() - before);
        // The prefix makes many short lines much longer.
        if to.text.len() > MOST_AT_ONCE {
            self.pass_on(to);
        }
    }

    fn pass_on(&self, lines: &mut LaidOut) {
        let Some(writer) = self.writer.as_ref().filter(|_| !lines.lengths.is_empty()) else { return };
        let mut rest = lines.text.as_bytes();
        let each = lines.lengths.drain(..).map(|length| {
            let (line, behind) = rest.split_at(length);
            rest = behind;
            line
        });
        writer.push(each, &self.source);
        lines.text.clear();
        lines.text.shrink_to(MOST_AT_ONCE);
    }
}

/// Formatted lines that are queued together: a single read holds a few hundred of them in a flood.
#[derive(Default)]
struct LaidOut {
    text: String,
    lengths: Vec<usize>,
    /// The time of all of these lines.
    time: String,
}

/// Writes the current time as RFC 3339, UTC. A clock before 1970 gives 1970.
fn note_time(time: &mut String) {
    let now = SystemTime::now().max(SystemTime::UNIX_EPOCH);
    time.clear();
    let _ = std::fmt::write(time, format_args!("{}", humantime::format_rfc3339_millis(now)));
}
