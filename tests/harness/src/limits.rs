//! Limits of this process.

use rustix::process::{Resource, getrlimit, setrlimit};

/// Lets this process open as many files as it may. Each request under way needs a descriptor, and many shells allow a
/// thousand. What cannot be raised shows as requests that were not started.
pub(crate) fn raise_open_files() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    let _ = setrlimit(Resource::Nofile, limit);
}
