//! Everything that a rig has started, whoever is its parent by now: found by a variable that all of it inherits.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::wait::until;

/// Every process of a rig inherits it, with the rig's folder as its value. No program knows the name.
pub(crate) const MARK: &str = "HARNESS_RIG";

/// The living processes of the rig with that folder.
pub(crate) fn living(folder: &Path) -> Vec<u32> {
    let mark = [MARK.as_bytes(), b"=", folder.as_os_str().as_bytes()].concat();
    processes().filter(|&pid| has(pid, &mark)).collect()
}

/// Waits until all of it is gone, at most that long; then SIGKILL to what is left.
pub(crate) fn end(folder: &Path, patience: Duration) {
    if until(patience, || living(folder).is_empty().then_some(())).is_some() {
        return;
    }
    let mark = [MARK.as_bytes(), b"=", folder.as_os_str().as_bytes()].concat();
    let _ = until(Duration::from_secs(5), || {
        let left = living(folder);
        left.iter().for_each(|&pid| kill(pid, &mark));
        left.is_empty().then_some(())
    });
}

/// Looks once more through a handle that stays that process's: a pid could be another one's by now.
fn kill(pid: u32, mark: &[u8]) {
    let handle = i32::try_from(pid).ok().and_then(Pid::from_raw).map(|pid| pidfd_open(pid, PidfdFlags::empty()));
    if let Some(Ok(handle)) = handle
        && has(pid, mark)
    {
        let _ = pidfd_send_signal(&handle, Signal::KILL);
    }
}

/// Whether its environment has that entry. A zombie has none.
fn has(pid: u32, mark: &[u8]) -> bool {
    let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    environment.split(|&byte| byte == 0).any(|entry| entry == mark)
}

/// The living children of a process.
pub(crate) fn children(parent: u32) -> Vec<u32> {
    processes().filter(|&pid| state_and_parent(pid).is_some_and(|(state, of)| of == parent && state != "Z")).collect()
}

/// Whether it exists and is no zombie.
pub(crate) fn is_alive(pid: u32) -> bool {
    state_and_parent(pid).is_some_and(|(state, _)| state != "Z" && state != "X")
}

fn state_and_parent(pid: u32) -> Option<(String, u32)> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The command before them may contain anything, also a bracket.
    let mut fields = stat.rsplit_once(") ")?.1.split(' ');
    Some((fields.next()?.to_owned(), fields.next()?.parse().ok()?))
}

fn processes() -> impl Iterator<Item = u32> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}
