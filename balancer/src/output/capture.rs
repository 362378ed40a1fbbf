//! The output of one process, read to its end.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::SystemTime;

use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe::Receiver;
use tokio::task::JoinHandle;

use super::layout::Layout;
use super::lines::{Line, Lines};
use super::queue::Source;
use super::tail::Tail;
use super::writer::Writer;

/// The captured output of one process.
#[derive(Debug)]
pub struct Capture {
    pub(super) ends: [JoinHandle<()>; 2],
    pub(super) tail: Tail,
}

impl Capture {
    /// Resolves when both streams have ended. A grandchild may hold one open for ever: put a deadline on it.
    pub async fn ended(&mut self) {
        for end in &mut self.ends {
            if !end.is_finished() {
                let _ = end.await;
            }
        }
    }

    /// The last lines, oldest first; of a long line the beginning.
    pub fn last_lines(&self) -> Arc<[String]> {
        self.tail.lines()
    }
}

/// Counts a stream from its beginning to its end.
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

/// One stream of one process on its way to where it is written.
pub(super) struct Pump {
    pub(super) layout: Layout,
    pub(super) source: Source,
    pub(super) tail: Tail,
    /// `None` where it is only read.
    pub(super) writer: Option<Writer>,
    pub(super) _open: Open,
}

impl Pump {
    pub(super) async fn run(self, pipe: OwnedFd) {
        let Ok(mut pipe) = Receiver::from_owned_fd(pipe) else { return };
        let mut lines = Lines::default();
        let mut chunk = vec![0; 16 << 10];
        let (mut text, mut time) = (String::new(), String::new());
        while let Ok(length @ 1..) = pipe.read(&mut chunk).await {
            note_time(&mut time);
            lines.feed(chunk.get(..length).unwrap_or_default(), |line| self.pass_on(line, &time, &mut text));
        }
        note_time(&mut time);
        lines.finish(|line| self.pass_on(line, &time, &mut text));
    }

    fn pass_on(&self, line: Line<'_>, time: &str, text: &mut String) {
        self.tail.keep(line);
        let Some(writer) = &self.writer else { return self.source.count(true) };
        text.clear();
        self.layout.push(text, time, line);
        writer.push(text.as_bytes(), &self.source);
    }
}

/// RFC 3339, UTC. A clock before 1970 says 1970.
fn note_time(time: &mut String) {
    let now = SystemTime::now().max(SystemTime::UNIX_EPOCH);
    time.clear();
    let _ = std::fmt::write(time, format_args!("{}", humantime::format_rfc3339_millis(now)));
}
