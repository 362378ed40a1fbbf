//! The descriptor limit.

use rustix::process::{Resource, Rlimit};

/// The old and the new soft limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenFiles {
    /// The soft limit the master was started with, which workers get back.
    pub inherited: Option<u64>,
    /// The soft limit now.
    pub raised: u64,
}

/// Raises the soft limit of open files to the hard one. A client connection needs two descriptors.
pub fn raise_open_files() -> OpenFiles {
    let limit = rustix::process::getrlimit(Resource::Nofile);
    let wanted = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let _ = rustix::process::setrlimit(Resource::Nofile, wanted);
    let now = rustix::process::getrlimit(Resource::Nofile);
    OpenFiles { inherited: limit.current, raised: now.current.unwrap_or(1 << 20) }
}
