//! The master's own standard output and error, of any kind of file.

use std::io;
use std::os::fd::BorrowedFd;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

/// One of our own streams. Another process that shares it may have made it non-blocking (the other users of a terminal
/// or a pipe do): even then this waits for a slow reader.
#[derive(Debug)]
pub(super) struct OwnStream<'a> {
    stream: BorrowedFd<'a>,
    /// True if the last write ended in the middle of a line, because of an error.
    is_torn: bool,
}

impl<'a> OwnStream<'a> {
    pub(super) fn new(stream: BorrowedFd<'a>) -> Self {
        Self { stream, is_torn: false }
    }

    /// Writes whole lines. Returns the number of bytes written, which is smaller after an error that waiting does not
    /// mend. The text after a torn line begins on a new line.
    pub(super) fn write(&mut self, lines: &[u8]) -> usize {
        if self.is_torn && self.put(b"\n") == 0 {
            return 0;
        }
        let written = self.put(lines);
        self.is_torn = lines.get(..written).and_then(<[u8]>::last).is_some_and(|last| *last != b'\n');
        written
    }

    fn put(&self, bytes: &[u8]) -> usize {
        let mut written = 0;
        while let Some(rest) = bytes.get(written..).filter(|rest| !rest.is_empty()) {
            match rustix::io::write(self.stream, rest) {
                Ok(0) => break,
                Ok(n) => written += n,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) if self.wait().is_ok() => {}
                Err(_) => break,
            }
        }
        written
    }

    /// Waits until the stream takes bytes, or never will.
    fn wait(&self) -> io::Result<()> {
        let mut watched = [PollFd::new(&self.stream, PollFlags::OUT)];
        match poll(&mut watched, None) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Read};
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn nonblocking_pipe_loses_and_tears_no_line() {
        let (reader, writer) = std::io::pipe().unwrap();
        rustix::io::ioctl_fionbio(&writer, true).unwrap();
        let line = [b"x".repeat(999), b"\n".to_vec()].concat();
        let lines = line.repeat(500);
        let reading = std::thread::spawn(move || {
            BufReader::new(reader).lines().map(|line| line.unwrap().len()).collect::<Vec<_>>()
        });
        assert_eq!(OwnStream::new(writer.as_fd()).write(&lines), lines.len());
        drop(writer);
        assert_eq!(reading.join().unwrap(), [999; 500]);
    }

    #[test]
    fn line_after_torn_line_begins_on_new_line() {
        let (mut reader, writer) = std::io::pipe().unwrap();
        let mut own = OwnStream::new(writer.as_fd());
        assert_eq!(own.write(b"one\ntw"), 6);
        assert_eq!(own.write(b"three\n"), 6);
        assert_eq!(own.write(b"four\n"), 5);
        drop(writer);
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        assert_eq!(text, "one\ntw\nthree\nfour\n");
    }

    #[test]
    fn closed_stream_takes_nothing() {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        assert_eq!(OwnStream::new(writer.as_fd()).write(b"one\n"), 0);
    }
}
