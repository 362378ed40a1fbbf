//! A log file: decides when to rotate it and when to open it again. Knows the disk only as [`Disk`], and the time as
//! `now`.

mod disk;
mod rotation;
mod safe_dir;

use std::io;
use std::path::Path;
use std::time::Duration;

use tokio::time::Instant;

use super::queue::Batch;

pub(super) use disk::Folder;

/// The interval between checks if another program has renamed or deleted the file.
const LOOK: Duration = Duration::from_secs(1);

/// The path of a log file and the operations on it.
pub(super) trait Disk {
    /// An open log file.
    type File;

    /// The path, for messages.
    fn path(&self) -> &Path;

    /// Opens the file at the path, or creates it.
    fn open(&mut self) -> io::Result<Self::File>;

    /// Appends some of the bytes; returns how many were written.
    fn append(&mut self, file: &mut Self::File, bytes: &[u8]) -> io::Result<usize>;

    /// Its present size.
    fn size(&self, file: &Self::File) -> io::Result<u64>;

    /// Returns true if the file ends in the middle of a line.
    fn is_torn(&self, file: &Self::File) -> io::Result<bool>;

    /// Removes the last `bytes` bytes of the file.
    fn take_back(&mut self, file: &mut Self::File, bytes: u64) -> io::Result<()>;

    /// Returns true if the file is the one at the path.
    fn is_at_path(&self, file: &Self::File) -> io::Result<bool>;

    /// Rotates the file at the path: it becomes the first of `keep` older files, and the last of them is removed.
    fn put_aside(&mut self, keep: u32) -> io::Result<()>;
}

/// A log file: appends whole lines, and keeps the file within its size limit.
#[derive(Debug)]
pub(super) struct LogFile<D: Disk> {
    disk: D,
    max_size: u64,
    keep: u32,
    open: Option<OpenFile<D::File>>,
}

#[derive(Debug)]
struct OpenFile<F> {
    file: F,
    size: u64,
    looked: Instant,
}

impl<D: Disk> LogFile<D> {
    /// Opens the file.
    ///
    /// # Errors
    ///
    /// The file cannot be opened, or is not a regular file.
    pub(super) fn open(disk: D, max_size: u64, keep: u32, now: Instant) -> io::Result<Self> {
        let mut log = Self { disk, max_size, keep, open: None };
        log.reopen(now)?;
        Ok(log)
    }

    pub(super) fn path(&self) -> &Path {
        self.disk.path()
    }

    /// Writes all lines of `batch`. On an error, the lines that were not written are left in it, whole.
    ///
    /// # Errors
    ///
    /// The file cannot be opened, written or rotated.
    pub(super) fn write(&mut self, batch: &mut Batch, now: Instant) -> io::Result<()> {
        // After an error the state of the file is not trusted: the next try opens it again.
        let written = self.try_write(batch, now);
        if written.is_err() {
            self.open = None;
        }
        written
    }

    fn try_write(&mut self, batch: &mut Batch, now: Instant) -> io::Result<()> {
        if self.open.as_ref().is_none_or(|open| now >= open.looked + LOOK) {
            self.look(now)?;
        }
        while !batch.is_empty() {
            let Some(open) = &mut self.open else { return Err(io::ErrorKind::NotFound.into()) };
            let whole = match batch.whole_lines(self.max_size.saturating_sub(open.size)) {
                // A line that is larger than any file is written all the same, not held for ever.
                0 if open.size == 0 => batch.next_line(),
                whole => whole,
            };
            if whole > 0 {
                put(&mut self.disk, open, batch, whole)?;
                continue;
            }
            // A file that another program moved away a moment ago is not rotated again.
            if self.disk.is_at_path(&open.file)? {
                self.disk.put_aside(self.keep)?;
            }
            self.reopen(now)?;
        }
        Ok(())
    }

    /// Opens the file again if it was renamed, deleted or replaced. Reads its size, which truncating changes.
    fn look(&mut self, now: Instant) -> io::Result<()> {
        if let Some(open) = &mut self.open
            && self.disk.is_at_path(&open.file)?
        {
            open.size = self.disk.size(&open.file)?;
            open.looked = now;
            return Ok(());
        }
        self.reopen(now)
    }

    fn reopen(&mut self, now: Instant) -> io::Result<()> {
        let mut file = self.disk.open()?;
        let mut size = self.disk.size(&file)?;
        // An earlier writer was stopped in the middle of a line: ours begins on a new line.
        if size > 0 && self.disk.is_torn(&file)? {
            size += self.disk.append(&mut file, b"\n")? as u64;
        }
        self.open = Some(OpenFile { file, size, looked: now });
        Ok(())
    }
}

/// Appends the next `length` bytes, which are whole lines. On an error, the part of a line that was written is removed
/// again.
fn put<D: Disk>(disk: &mut D, open: &mut OpenFile<D::File>, batch: &mut Batch, length: usize) -> io::Result<()> {
    let mut written = 0;
    let result = loop {
        let rest = batch.bytes().get(written..length).unwrap_or_default();
        if rest.is_empty() {
            break Ok(());
        }
        match disk.append(&mut open.file, rest) {
            Ok(0) => break Err(io::ErrorKind::WriteZero.into()),
            Ok(n) => written += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => break Err(error),
        }
    };
    open.size += written as u64;
    let torn = written - batch.whole_lines(written as u64);
    batch.settle(written, true);
    if torn > 0 {
        // If this fails too, opening the file again finds the torn line.
        let _ = disk.take_back(&mut open.file, torn as u64);
    }
    result
}

#[cfg(test)]
mod tests;
