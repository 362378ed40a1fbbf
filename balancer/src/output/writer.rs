//! The writing threads: one for our own standard output and error, and one for each log file.

use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::file::{Disk, LogFile};
use super::queue::{Queue, Source};
use super::stdio::OwnStream;
use crate::os::file_size;
use crate::stats::Stream;

/// The pause between a failed write and the next try.
const RETRY: Duration = Duration::from_secs(1);

/// A handle to a writing thread. The thread ends with its last handle, after it has written all queued lines.
#[derive(Clone, Debug)]
pub(super) struct Writer(Arc<Handle>);

#[derive(Debug)]
struct Handle(Arc<Queue>);

impl Drop for Handle {
    fn drop(&mut self) {
        self.0.close();
    }
}

impl Writer {
    fn start(name: &str, run: impl FnOnce(&Queue) + Send + 'static) -> io::Result<Self> {
        let queue = Arc::new(Queue::default());
        let theirs = Arc::clone(&queue);
        let run = move || {
            file_size::refuse_instead_of_signal();
            run(&theirs);
        };
        std::thread::Builder::new().name(name.into()).spawn(run)?;
        Ok(Self(Arc::new(Handle(queue))))
    }

    /// Starts a thread that writes each line to that one of our own streams that it belongs to.
    pub(super) fn to_own_streams() -> io::Result<Self> {
        Self::start("output-writer", write_to_own_streams)
    }

    /// Starts a thread that writes to the log file of a pool.
    pub(super) fn to_file<D: Disk + Send + 'static>(pool: &str, file: LogFile<D>) -> io::Result<Self>
    where
        D::File: Send,
    {
        let pool = pool.to_owned();
        Self::start("log-writer", move |queue| write_to_file(queue, file, &pool))
    }

    /// Queues lines with their line ends; drops lines when too many wait already. Never blocks.
    pub(super) fn push<'a>(&self, lines: impl IntoIterator<Item = &'a [u8]>, source: &Source) {
        self.0.0.push(lines, source);
    }

    /// Waits until all lines are written or given up, or until the deadline. For the end of the program.
    pub(super) fn flush(&self, deadline: Instant) {
        self.0.0.flush(deadline);
    }
}

/// Takes whole events of the master's own log; never blocks and never fails. Only the writing thread may wait for a
/// reader of our standard error: a stalled log collector must not stop the supervisor.
#[derive(Clone, Debug)]
pub struct LogWriter(pub(super) Writer);

impl Write for LogWriter {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        self.0.push([event], &Source { stream: Stream::Stderr, worker: None });
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes to our own streams. Errors are only counted, since there is no place left to report them: our own output is
/// closed or full.
fn write_to_own_streams(queue: &Queue) {
    let mut out = OwnStream::new(rustix::stdio::stdout());
    let mut err = OwnStream::new(rustix::stdio::stderr());
    while let Some(mut batch) = queue.take() {
        while let Some((stream, bytes)) = batch.run() {
            let own = match stream {
                Stream::Stdout => &mut out,
                Stream::Stderr => &mut err,
            };
            let length = bytes.len();
            // A torn line does not count as written.
            let whole = batch.whole_lines(own.write(bytes) as u64);
            batch.settle(whole, true);
            batch.settle(length - whole, false);
        }
    }
}

/// Writes to a log file. While the file cannot be written, lines wait in the queue until it is full, and the write is
/// tried again every second.
fn write_to_file<D: Disk>(queue: &Queue, mut file: LogFile<D>, pool: &str) {
    let mut trouble: Option<u64> = None;
    while let Some(mut batch) = queue.take() {
        let mut given_up = 0;
        while let Err(error) = file.write(&mut batch, Instant::now()) {
            if trouble.is_none() {
                let path = file.path().display();
                tracing::warn!(pool, %path, %error, "cannot write the workers' log: lines wait, and are dropped if too many");
                trouble = Some(queue.refused());
            }
            if !queue.pause(RETRY) {
                given_up = batch.settle(batch.bytes().len(), false);
                break;
            }
        }
        if given_up == 0
            && let Some(before) = trouble.take()
        {
            let lost = queue.refused() - before;
            tracing::warn!(pool, path = %file.path().display(), lost, "the workers' log is written again");
        }
    }
}

#[cfg(test)]
mod tests;
