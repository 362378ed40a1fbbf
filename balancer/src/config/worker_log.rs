//! Where what the workers of a pool write goes.

use std::path::PathBuf;

/// `[pool.NAME.log]`: the lines of a pool's workers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkerLog {
    /// Where they go. Default `stdout`.
    pub to: LogTarget,
    /// The format of a line. Default `text`.
    pub format: LineFormat,
    /// In bytes: a file that a line would make larger is put aside first. Default 50 MiB.
    pub max_size: u64,
    /// The number of files that were put aside and are kept. Default 5. With the file itself that is at most
    /// `max_size` × (`keep` + 1) on disk.
    pub keep: u32,
}

/// Where a pool's lines go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogTarget {
    /// Each stream to the master's own: standard output to standard output, standard error to standard error.
    Stdout,
    /// Nowhere. They are read all the same, so that no worker waits, and the last ones are kept for the report of an exit.
    Off,
    /// One file for all workers of the pool.
    File(PathBuf),
}

/// The format of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LineFormat {
    /// The text behind `pool/slot | `; in a file the time and the stream stand there too.
    Text,
    /// One JSON object a line.
    Json,
}

impl Default for WorkerLog {
    fn default() -> Self {
        Self { to: LogTarget::Stdout, format: LineFormat::Text, max_size: 50 << 20, keep: 5 }
    }
}
