//! Descriptors that were passed to this process by the variables of systemd: `LISTEN_FDS`, `LISTEN_PID`, `LISTEN_FDNAMES`.

#![allow(unsafe_code)]

use std::ffi::OsString;
use std::os::fd::{BorrowedFd, FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};

use worker_runtime::protocol::{FIRST_LISTEN_FD, LISTEN_FDNAMES, LISTEN_FDS, LISTEN_PID, LISTEN_PIDFDID};

/// The name of a descriptor without a name in `LISTEN_FDNAMES`.
const UNNAMED: &str = "unknown";

/// Set once the passed descriptors have an owner: a descriptor number can be owned once in a process.
static TAKEN: AtomicBool = AtomicBool::new(false);

/// One descriptor that was passed.
#[derive(Debug)]
pub struct Activated {
    /// The descriptor, close-on-exec.
    pub descriptor: OwnedFd,
    /// Its name in `LISTEN_FDNAMES`.
    pub name: String,
}

/// The reason why passed descriptors cannot be taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ActivationError {
    /// `LISTEN_FDS` is not a number.
    #[error("LISTEN_FDS is `{0}`, which is not a number of descriptors")]
    Count(String),
    /// The environment promises a descriptor that is not open.
    #[error("LISTEN_FDS promises descriptor {0}, which is not open")]
    Closed(i32),
}

/// Takes the descriptors that were passed to this process and removes the variables that say so. Call it in the only thread
/// of the process, before anything is opened to be kept; a second call returns nothing.
///
/// # Errors
///
/// The variables are malformed, or name a descriptor that is not open.
#[expect(clippy::disallowed_methods, reason = "removes variables while there is one thread only")]
pub fn take() -> Result<Vec<Activated>, ActivationError> {
    if TAKEN.swap(true, Ordering::SeqCst) {
        return Ok(Vec::new());
    }
    let names = promised(std::process::id(), |name| std::env::var_os(name))?;
    for name in [LISTEN_FDS, LISTEN_PID, LISTEN_PIDFDID, LISTEN_FDNAMES] {
        // SAFETY: the caller's thread is the only one of the process, so that nothing reads the environment meanwhile.
        unsafe { std::env::remove_var(name) };
    }
    let numbered = || std::iter::zip(FIRST_LISTEN_FD.., &names);
    for (number, _) in numbered() {
        // SAFETY: borrowed for one call that does not close it, and the kernel answers EBADF if it is not open.
        let descriptor = unsafe { BorrowedFd::borrow_raw(number) };
        let set = rustix::io::fcntl_setfd(descriptor, rustix::io::FdFlags::CLOEXEC);
        set.map_err(|_| ActivationError::Closed(number))?;
    }
    let own = |(number, name): (i32, &String)| {
        // SAFETY: open, as just seen, and ours: the caller of exec put it there for us to own and says so with our pid,
        // `TAKEN` lets no second owner be made here, and nothing that is open in this process was opened by itself.
        let descriptor = unsafe { OwnedFd::from_raw_fd(number) };
        Activated { descriptor, name: name.clone() }
    };
    Ok(numbered().map(own).collect())
}

/// The names of the descriptors that are promised to process `pid`, from [`FIRST_LISTEN_FD`] on. Pure.
fn promised(pid: u32, lookup: impl Fn(&str) -> Option<OsString>) -> Result<Vec<String>, ActivationError> {
    let is_for_us = lookup(LISTEN_PID).is_some_and(|said| said == *pid.to_string());
    let Some(count) = lookup(LISTEN_FDS).filter(|_| is_for_us) else { return Ok(Vec::new()) };
    let count = count.to_string_lossy();
    let count: u16 = count.parse().map_err(|_| ActivationError::Count(count.chars().take(32).collect()))?;
    let names = lookup(LISTEN_FDNAMES).unwrap_or_default();
    let names = names.to_string_lossy();
    let named = names.split(':').map(|name| if name.is_empty() { UNNAMED } else { name });
    Ok(named.chain(std::iter::repeat(UNNAMED)).take(count.into()).map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(variables: &[(&str, &str)]) -> Result<Vec<String>, ActivationError> {
        promised(7, |name| variables.iter().find(|(one, _)| *one == name).map(|(_, value)| OsString::from(value)))
    }

    #[test]
    fn descriptors_for_this_process_are_named() {
        assert_eq!(told(&[("LISTEN_FDS", "2"), ("LISTEN_PID", "7")]).unwrap(), ["unknown"; 2]);
        let named = [("LISTEN_FDS", "3"), ("LISTEN_PID", "7"), ("LISTEN_FDNAMES", "web::admin:more")];
        assert_eq!(told(&named).unwrap(), ["web", "unknown", "admin"]);
    }

    #[test]
    fn descriptors_for_another_process_are_ignored() {
        for variables in [&[][..], &[("LISTEN_FDS", "2")], &[("LISTEN_FDS", "2"), ("LISTEN_PID", "8")]] {
            assert_eq!(told(variables), Ok(Vec::new()), "{variables:?}");
        }
    }

    #[test]
    fn count_that_is_no_number_is_refused() {
        for count in ["", "many", "-1", "65536"] {
            let refused = told(&[("LISTEN_FDS", count), ("LISTEN_PID", "7")]);
            assert_eq!(refused, Err(ActivationError::Count(count.to_owned())));
        }
    }
}
