//! What workers write: read at once, prefixed `pool/slot`, written in order, never in a worker's way.
//!
//! A thread of its own reads all pipes, another writes. Between them stands a bounded queue: where our own output is slower
//! than the workers, lines are dropped and counted; a worker is never blocked by us.

mod lines;
mod writer;

use std::collections::VecDeque;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe::Receiver;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::stats::{SlotStats, Stream};
use lines::Lines;
use writer::Writer;

pub use writer::LogWriter;

/// How many of a process's last lines are kept for the story of its end.
const TAIL: usize = 20;
/// How long the last lines of ended workers are waited for.
const LAST_LINES: Duration = Duration::from_secs(1);

/// Takes in the output of all workers.
#[derive(Clone, Debug)]
pub struct Output {
    reader: Handle,
    writer: Writer,
    /// Streams that are being read.
    open: Arc<AtomicUsize>,
}

impl Output {
    /// Starts the reading and the writing thread.
    ///
    /// # Errors
    ///
    /// A thread or its runtime could not be made.
    pub fn start() -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
        let reader = runtime.handle().clone();
        let writer = Writer::start()?;
        let forever = std::future::pending::<()>();
        std::thread::Builder::new().name("output".into()).spawn(move || runtime.block_on(forever))?;
        Ok(Self { reader, writer, open: Arc::default() })
    }

    /// Reads both streams of one process until they end.
    pub fn capture(&self, label: &str, stdout: OwnedFd, stderr: OwnedFd, stats: &Arc<SlotStats>) -> Capture {
        let tail = Tail::default();
        let read = |pipe, stream| {
            let pump = Pump {
                prefix: format!("{label} | "),
                stream,
                stats: Arc::clone(stats),
                tail: tail.clone(),
                writer: self.writer.clone(),
                _open: Open::count(&self.open),
            };
            self.reader.spawn(pump.run(pipe))
        };
        Capture { ends: [read(stdout, Stream::Stdout), read(stderr, Stream::Stderr)], tail: tail.clone() }
    }

    /// Where the master's own log goes.
    pub fn log(&self) -> LogWriter {
        self.writer.log()
    }

    /// Waits until all streams have ended and what was read is written, for at most a second each. For the end of the
    /// program, when its workers have ended.
    pub fn flush(&self) {
        let deadline = Instant::now() + LAST_LINES;
        while self.open.load(Ordering::SeqCst) > 0 && Instant::now() < deadline {
            std::thread::park_timeout(Duration::from_millis(2));
        }
        self.writer.flush();
    }
}

/// The captured output of one process.
#[derive(Debug)]
pub struct Capture {
    ends: [JoinHandle<()>; 2],
    tail: Tail,
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

    /// The last lines, oldest first.
    pub fn last_lines(&self) -> Vec<String> {
        self.tail.lock().iter().cloned().collect()
    }
}

/// The last lines of both streams.
#[derive(Clone, Debug, Default)]
struct Tail(Arc<Mutex<VecDeque<String>>>);

impl Tail {
    fn lock(&self) -> std::sync::MutexGuard<'_, VecDeque<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keep(&self, line: &str) {
        let mut lines = self.lock();
        if lines.len() == TAIL {
            lines.pop_front();
        }
        lines.push_back(line.to_owned());
    }
}

/// One stream of one process on its way to our own output.
struct Pump {
    prefix: String,
    stream: Stream,
    stats: Arc<SlotStats>,
    tail: Tail,
    writer: Writer,
    _open: Open,
}

/// Counts a stream from its beginning to its end.
struct Open(Arc<AtomicUsize>);

impl Open {
    fn count(open: &Arc<AtomicUsize>) -> Self {
        open.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(open))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Pump {
    async fn run(self, pipe: OwnedFd) {
        let Ok(mut pipe) = Receiver::from_owned_fd(pipe) else { return };
        let mut lines = Lines::default();
        let mut chunk = vec![0; 16 << 10];
        while let Ok(length @ 1..) = pipe.read(&mut chunk).await {
            lines.feed(chunk.get(..length).unwrap_or_default(), |line| self.take(line));
        }
        lines.finish(|line| self.take(line));
    }

    fn take(&self, line: &str) {
        self.tail.keep(line);
        let stream = self.stream as usize;
        let counters = if self.writer.write(self.stream, &self.prefix, line) {
            &self.stats.log_lines
        } else {
            &self.stats.log_dropped
        };
        counters[stream].increment();
    }
}
