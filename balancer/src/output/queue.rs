//! The bounded queue between the threads that have lines and the thread that writes them.
//!
//! The limit is in bytes and includes the lines that are being written and the bookkeeping. A thread that has a line
//! never waits: if there is no room, the line is dropped and counted.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::stats::{SlotStats, Stream};

/// The most bytes that wait for a slow terminal, pipe or disk before workers' lines are dropped.
pub(super) const MAX_QUEUED: usize = 8 << 20;
/// The bytes that the master's own log may use beyond that: a flood of worker lines does not silence it.
const RESERVE: usize = 1 << 20;
/// The size of a batch, which is written at once.
const BATCH: usize = 64 << 10;

/// Lines on their way to one writer.
#[derive(Debug, Default)]
pub(super) struct Queue {
    inner: Mutex<Inner>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Inner {
    batches: VecDeque<Batch>,
    /// The cost of all batches, including the one that is being written.
    held: usize,
    taken: usize,
    /// The number of lines dropped for lack of room since the start.
    refused: u64,
    is_closed: bool,
    is_ending: bool,
}

/// The worker that a line comes from, and the stream that it belongs to.
#[derive(Clone, Debug)]
pub(super) struct Source {
    pub(super) stream: Stream,
    /// `None` for the master's own log.
    pub(super) worker: Option<Arc<SlotStats>>,
}

/// Whole lines that are written together.
#[derive(Debug, Default)]
pub(super) struct Batch {
    bytes: Vec<u8>,
    /// The number of its bytes that were written or given up.
    at: usize,
    lines: VecDeque<(usize, Source)>,
}

impl Source {
    /// Counts a line of this source as written or dropped.
    pub(super) fn count(&self, is_written: bool) {
        let Some(stats) = &self.worker else { return };
        let counters = if is_written { &stats.log_lines } else { &stats.log_dropped };
        counters[self.stream as usize].increment();
    }

    fn limit(&self) -> usize {
        if self.worker.is_some() { MAX_QUEUED } else { MAX_QUEUED + RESERVE }
    }
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues lines with their line ends, and drops those that find no room. Never waits for the writer.
    pub(super) fn push<'a>(&self, lines: impl IntoIterator<Item = &'a [u8]>, source: &Source) {
        let mut inner = self.lock();
        let was_empty = inner.batches.is_empty();
        for line in lines {
            inner.push(line, source);
        }
        drop(inner);
        if was_empty {
            self.changed.notify_all();
        }
    }

    /// Returns the next lines as soon as there are any, and marks the lines taken before as done. `None` once the queue
    /// is closed and empty.
    pub(super) fn take(&self) -> Option<Batch> {
        let mut inner = self.lock();
        inner.held -= std::mem::take(&mut inner.taken);
        loop {
            if let Some(batch) = inner.batches.pop_front() {
                inner.taken = batch.cost();
                return Some(batch);
            }
            if inner.is_closed {
                return None;
            }
            self.changed.notify_all();
            inner = self.changed.wait(inner).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Waits for `time` before another try. Returns false, and earlier, if there is no time for another try any more.
    pub(super) fn pause(&self, time: Duration) -> bool {
        let deadline = Instant::now() + time;
        let mut inner = self.lock();
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if inner.is_ending || inner.is_closed || left.is_zero() {
                return !(inner.is_ending || inner.is_closed);
            }
            let waited = self.changed.wait_timeout(inner, left);
            inner = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// The number of lines dropped for lack of room so far.
    pub(super) fn refused(&self) -> u64 {
        self.lock().refused
    }

    /// Waits until all lines are written or given up, or until the deadline. Call it at the end of the program: lines
    /// that cannot be written now are not tried again.
    pub(super) fn flush(&self, deadline: Instant) {
        let mut inner = self.lock();
        inner.is_ending = true;
        self.changed.notify_all();
        while inner.held > 0 {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            inner = self.changed.wait_timeout(inner, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Closes the queue: no more lines come.
    pub(super) fn close(&self) {
        self.lock().is_closed = true;
        self.changed.notify_all();
    }
}

impl Inner {
    fn push(&mut self, line: &[u8], source: &Source) {
        let cost = cost(line.len());
        if self.is_closed || self.held + cost > source.limit() {
            self.refused += 1;
            return source.count(false);
        }
        self.held += cost;
        match self.batches.back_mut() {
            Some(batch) if batch.cost() + cost <= BATCH => batch.push(line, source),
            _ => {
                let mut batch = Batch::default();
                batch.push(line, source);
                self.batches.push_back(batch);
            }
        }
    }
}

/// The bytes of a line and of its bookkeeping.
fn cost(length: usize) -> usize {
    length + size_of::<(usize, Source)>()
}

impl Batch {
    fn push(&mut self, line: &[u8], source: &Source) {
        self.bytes.extend_from_slice(line);
        self.lines.push_back((line.len(), source.clone()));
    }

    fn cost(&self) -> usize {
        self.bytes.len() + self.lines.len() * size_of::<(usize, Source)>()
    }

    /// Returns true if there is nothing left to write.
    pub(super) fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// The lines that are left, all whole.
    pub(super) fn bytes(&self) -> &[u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    /// The number of the next bytes that are whole lines within `limit` bytes.
    pub(super) fn whole_lines(&self, limit: u64) -> usize {
        let mut whole = 0;
        for (length, _) in &self.lines {
            if (whole + length) as u64 > limit {
                break;
            }
            whole += length;
        }
        whole
    }

    /// The length of the next line.
    pub(super) fn next_line(&self) -> usize {
        self.lines.front().map_or(0, |(length, _)| *length)
    }

    /// The next lines that go to the same stream.
    pub(super) fn run(&self) -> Option<(Stream, &[u8])> {
        let stream = self.lines.front()?.1.stream;
        let length =
            self.lines.iter().take_while(|(_, source)| source.stream == stream).map(|(length, _)| length).sum();
        Some((stream, self.bytes().get(..length)?))
    }

    /// Marks the lines within the next `length` bytes as done: written, or never to be written. Returns the number of
    /// lines.
    pub(super) fn settle(&mut self, length: usize, is_written: bool) -> u64 {
        let (mut left, mut count) = (length, 0);
        while let Some((length, _)) = self.lines.front()
            && *length <= left
            && let Some((length, source)) = self.lines.pop_front()
        {
            left -= length;
            self.at += length;
            count += 1;
            source.count(is_written);
        }
        count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn worker() -> (Arc<SlotStats>, Source) {
        let stats = Arc::new(SlotStats::default());
        (Arc::clone(&stats), Source { stream: Stream::Stdout, worker: Some(stats) })
    }

    #[test]
    fn queue_limit_in_bytes_holds_for_any_line_length() {
        for line in [&b"\n"[..], &[b'x'; 5000]] {
            let (queue, (stats, source)) = (Queue::default(), worker());
            while stats.log_dropped[0].get() == 0 {
                queue.push([line], &source);
            }
            let inner = queue.lock();
            let bytes: usize = inner.batches.iter().map(Batch::cost).sum();
            assert_eq!(bytes, inner.held);
            assert!((MAX_QUEUED - cost(5000)..=MAX_QUEUED).contains(&bytes), "{bytes}");
        }
    }

    #[test]
    fn flood_of_worker_lines_leaves_room_for_master_log() {
        let (queue, (stats, source)) = (Queue::default(), worker());
        while stats.log_dropped[0].get() == 0 {
            queue.push([&[b'x'; 1000][..]], &source);
        }
        queue.push([&b"an event\n"[..]], &Source { stream: Stream::Stderr, worker: None });
        assert_eq!(queue.refused(), 1);
    }

    #[test]
    fn line_is_counted_once_when_written_or_dropped() {
        let (queue, (stats, source)) = (Queue::default(), worker());
        queue.push(["one\n", "two\n", "three\n"].map(str::as_bytes), &source);
        let counted = || (stats.log_lines[0].get(), stats.log_dropped[0].get());
        assert_eq!(counted(), (0, 0));
        let mut batch = queue.take().unwrap();
        // A line that was written only in part does not count as written.
        assert_eq!(batch.settle(7, true), 1);
        assert_eq!((counted(), batch.bytes()), ((1, 0), &b"two\nthree\n"[..]));
        assert_eq!((batch.whole_lines(9), batch.next_line()), (4, 4));
        assert_eq!(batch.settle(batch.bytes().len(), false), 2);
        assert!(batch.is_empty());
        assert_eq!(counted(), (1, 2));
        queue.close();
        assert!(queue.take().is_none());
        assert_eq!(queue.lock().held, 0);
    }

    #[test]
    fn flush_of_unread_queue_ends_at_its_deadline() {
        let (queue, (_, source)) = (Queue::default(), worker());
        queue.push([&b"line\n"[..]], &source);
        queue.flush(Instant::now());
        assert!(!queue.pause(Duration::from_secs(600)), "there is no time for another try");
    }
}
