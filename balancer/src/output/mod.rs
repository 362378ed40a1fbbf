//! The output of workers: read at once, marked with its source, written in order, without blocking a worker.
//!
//! One thread reads all pipes. Other threads write: one to our own standard output and error, and one for each pool
//! that has a log file, so that a slow disk delays only its own pool. Before each writing thread stands a bounded
//! queue. If a writer is slower than the workers, lines are dropped and counted; the master never blocks a worker.

mod capture;
mod file;
mod layout;
mod lines;
mod queue;
mod stdio;
mod tail;
mod writer;

#[cfg(feature = "fuzzing")]
pub use lines::fuzz;

use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::config::{self, LineFormat, LogTarget, WorkerLog};
use crate::failure::{Failure, code};
use crate::stats::{SlotStats, Stream};
use capture::{Open, Pump};
use file::{Folder, LogFile};
use layout::Layout;
use queue::Source;
use tail::Tail;
use writer::Writer;

pub use capture::Capture;
pub use layout::LineSource;
pub use writer::LogWriter;

/// The time to wait for the last lines of ended workers.
const LAST_LINES: Duration = Duration::from_secs(1);

/// Reads the output of all workers.
#[derive(Clone, Debug)]
pub struct Output {
    reader: Handle,
    own: Writer,
    /// The sinks of the pools that configure one; lines of other pools go to our own streams.
    sinks: Arc<Mutex<BTreeMap<String, LogSink>>>,
    /// Streams that are being read.
    open: Arc<AtomicUsize>,
}

/// The destination of a pool's lines, and their format there.
#[derive(Clone, Debug)]
struct LogSink {
    /// `None` if lines are only read and not written.
    writer: Option<Writer>,
    format: LineFormat,
    has_time: bool,
}

/// Checks that a log file may be kept at the path, without opening or making any.
///
/// # Errors
///
/// Its folder is missing, or may not be written to, or another user could replace it.
pub fn check_folder(path: &std::path::Path) -> std::io::Result<()> {
    Folder::of(path).map(drop)
}

impl Output {
    /// Starts the reading thread and the one that writes to our own streams.
    ///
    /// # Errors
    ///
    /// A thread or its runtime could not be made.
    pub fn start() -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
        let reader = runtime.handle().clone();
        let own = Writer::to_own_streams()?;
        let forever = std::future::pending::<()>();
        std::thread::Builder::new().name("output".into()).spawn(move || runtime.block_on(forever))?;
        Ok(Self { reader, own, sinks: Arc::default(), open: Arc::default() })
    }

    /// Opens the log files of these pools and starts a thread for each. Call it at the start, before any of their
    /// workers.
    ///
    /// # Errors
    ///
    /// A file cannot be opened, is not a regular file, or cannot be renamed in its folder.
    pub fn open_logs(&self, pools: &[config::PoolConfig]) -> Result<(), Failure> {
        for pool in pools {
            let WorkerLog { to, format, max_size, keep } = &pool.log;
            let (writer, has_time) = match to {
                LogTarget::Stdout => (Some(self.own.clone()), false),
                LogTarget::Off => (None, false),
                LogTarget::File(path) => {
                    let open = |folder| LogFile::open(folder, *max_size, *keep, Instant::now());
                    let file = Folder::of(path).and_then(open);
                    let writer = file.and_then(|file| Writer::to_file(&pool.name, file)).map_err(|cause| {
                        let error = format!("cannot open the log of pool `{}`: {}", pool.name, path.display());
                        let hint = "log.to is the path of a regular file in a folder that the master may write to";
                        Failure::new(code::FAILED, error).cause(cause).hint(hint)
                    })?;
                    (Some(writer), true)
                }
            };
            self.sinks().insert(pool.name.clone(), LogSink { writer, format: *format, has_time });
        }
        Ok(())
    }

    /// Reads both streams of one process until they end.
    pub fn capture(
        &self,
        line_source: &LineSource,
        stdout: OwnedFd,
        stderr: OwnedFd,
        stats: &Arc<SlotStats>,
    ) -> Capture {
        let to_own = || LogSink { writer: Some(self.own.clone()), format: LineFormat::Text, has_time: false };
        let place = self.sinks().get(&line_source.pool).cloned().unwrap_or_else(to_own);
        let (tail, close) = (Tail::default(), CancellationToken::new());
        let read = |pipe, stream| {
            let pump = Pump {
                layout: Layout::new(place.format, place.has_time, line_source, stream),
                source: Source { stream, worker: Some(Arc::clone(stats)) },
                tail: tail.clone(),
                writer: place.writer.clone(),
                close: close.clone(),
                _open: Open::count(&self.open),
            };
            self.reader.spawn(pump.run(pipe))
        };
        let ends = [read(stdout, Stream::Stdout), read(stderr, Stream::Stderr)];
        Capture { ends, tail: tail.clone(), close: close.clone() }
    }

    /// A writer for the master's own log.
    pub fn log(&self) -> LogWriter {
        LogWriter(self.own.clone())
    }

    /// Waits until all streams have ended and all lines are written: at most a second for the streams, for the log
    /// files and for our own streams each. Call it at the end of the program, when its workers have ended.
    pub fn flush(&self) {
        let deadline = Instant::now() + LAST_LINES;
        while self.open.load(Ordering::SeqCst) > 0 && Instant::now() < deadline {
            std::thread::park_timeout(Duration::from_millis(2));
        }
        let writers: Vec<Writer> = self.sinks().values().filter_map(|place| place.writer.clone()).collect();
        let deadline = Instant::now() + LAST_LINES;
        writers.iter().for_each(|writer| writer.flush(deadline));
        // Last, since messages about the log files go there; with a second of its own, since a disk may have used up
        // the one before.
        self.own.flush(Instant::now() + LAST_LINES);
    }

    fn sinks(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, LogSink>> {
        self.sinks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
