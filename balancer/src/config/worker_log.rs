//! The target of the lines that a pool's workers write.

use std::path::PathBuf;

/// `[pool.NAME.log]`: the lines of a pool's workers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkerLog {
    /// The target of the lines. Default `stdout`.
    pub to: LogTarget,
    /// The format of a line. Default `text`.
    pub format: LineFormat,
    /// The largest size of a file, in bytes. Before a line would make it larger, the file is rotated. Default 50 MiB.
    pub max_size: u64,
    /// The number of rotated files that are kept. Default 5. With the file itself that is at most `max_size` × (`keep`
    /// + 1) on disk.
    pub keep: u32,
}

/// The target of a pool's lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogTarget {
    /// Each stream to the master's own: standard output to standard output, standard error to standard error.
    Stdout,
    /// No target. The lines are read all the same, so that no worker blocks, and the last ones are kept for the report
    /// of an exit.
    Off,
    /// One file for all workers of the pool.
    File(PathBuf),
}

/// The format of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LineFormat {
    /// The text after `pool/slot | `. In a file the time and the stream come before it, too.
    Text,
    /// One JSON object a line.
    Json,
}

impl Default for WorkerLog {
    fn default() -> Self {
        Self { to: LogTarget::Stdout, format: LineFormat::Text, max_size: 50 << 20, keep: 5 }
    }
}
