//! Limits of this process.

use rustix::process::{Resource, getrlimit, setrlimit};

/// Raises the limit of open files of this process to its maximum: each request under way needs a descriptor, and many
/// shells allow a thousand. If the maximum is too low, it shows as requests that were not started.
pub(crate) fn raise_open_files() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    let _ = setrlimit(Resource::Nofile, limit);
}
