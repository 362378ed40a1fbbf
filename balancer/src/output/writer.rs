//! The one thread that writes workers' lines to our own standard output and error.

use std::io::{self, Write};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use crate::stats::Stream;

/// What may wait for a slow terminal, pipe or disk before lines are dropped.
const MAX_QUEUED: usize = 8 << 20;

/// A handle to the writing thread.
#[derive(Clone, Debug)]
pub(super) struct Writer {
    items: mpsc::Sender<Item>,
    queued: Arc<AtomicUsize>,
}

enum Item {
    Line(Stream, String),
    /// Everything before it is written now.
    Flush(mpsc::SyncSender<()>),
}

impl Writer {
    pub(super) fn start() -> io::Result<Self> {
        let (sender, items) = mpsc::channel();
        let queued = Arc::new(AtomicUsize::new(0));
        let theirs = Arc::clone(&queued);
        std::thread::Builder::new().name("output-writer".into()).spawn(move || run(&items, &theirs))?;
        Ok(Self { items: sender, queued })
    }

    /// A writer for log lines of our own, on standard error: queued as workers' lines are, dropped where nobody reads them.
    pub(super) fn log(&self) -> LogWriter {
        LogWriter(self.clone())
    }

    /// Queues a line; false if it was dropped because too much waits already. Never blocks.
    pub(super) fn write(&self, stream: Stream, prefix: &str, line: &str) -> bool {
        self.queue(stream, format!("{prefix}{line}\n"))
    }

    fn queue(&self, stream: Stream, text: String) -> bool {
        let length = text.len();
        if self.queued.fetch_add(length, Ordering::Relaxed) + length > MAX_QUEUED {
            self.queued.fetch_sub(length, Ordering::Relaxed);
            return false;
        }
        self.items.send(Item::Line(stream, text)).is_ok()
    }

    pub(super) fn flush(&self) {
        let (done, wait) = mpsc::sync_channel(1);
        if self.items.send(Item::Flush(done)).is_ok() {
            let _ = wait.recv_timeout(Duration::from_secs(1));
        }
    }
}

/// Takes whole events of the log; never blocks and never fails. The thread that writes is the only one that may wait for a
/// reader of our standard error: a stalled log collector must not stop the supervisor.
#[derive(Clone, Debug)]
pub struct LogWriter(Writer);

impl io::Write for LogWriter {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        self.0.queue(Stream::Stderr, String::from_utf8_lossy(event).into_owned());
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes until the last handle is gone. Errors are nobody's to hear: our own output is closed or full.
fn run(items: &mpsc::Receiver<Item>, queued: &AtomicUsize) {
    while let Ok(item) = items.recv() {
        match item {
            Item::Line(stream, text) => {
                let _ = match stream {
                    Stream::Stdout => io::stdout().lock().write_all(text.as_bytes()),
                    Stream::Stderr => io::stderr().lock().write_all(text.as_bytes()),
                };
                queued.fetch_sub(text.len(), Ordering::Relaxed);
            }
            Item::Flush(done) => {
                let _ = io::stdout().flush();
                let _ = done.send(());
            }
        }
    }
}
