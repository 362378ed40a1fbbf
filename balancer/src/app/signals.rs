//! The operator's signals and their meaning.

use std::io;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::Instant;

use crate::os::child::signal_name;
use crate::os::signals::is_ignored;
use crate::os::spawner::Spawner;

/// A second signal within this time of the first counts as the same request.
const SAME_REQUEST: Duration = Duration::from_millis(50);

/// The signals that the master listens to; all others keep their default action. `None` stands for a signal that was
/// ignored when the master started.
#[derive(Debug)]
pub(super) struct Signals {
    terminate: Option<Signal>,
    interrupt: Option<Signal>,
    hangup: Option<Signal>,
    had_terminal: bool,
    /// The time of the first request to stop.
    asked: Option<Instant>,
}

impl Signals {
    pub(super) fn listen() -> io::Result<Self> {
        Ok(Self {
            terminate: unless_ignored(SignalKind::terminate())?,
            interrupt: unless_ignored(SignalKind::interrupt())?,
            hangup: unless_ignored(SignalKind::hangup())?,
            had_terminal: terminal().is_ok(),
            asked: None,
        })
    }

    /// Resolves at the next request. Cancel safe.
    ///
    /// A signal that repeats the first request to stop within a moment counts as the same request: a terminal's Ctrl-C
    /// may also arrive through the program that started us, and a terminal that closes sends more than one SIGHUP.
    pub(super) async fn next(&mut self) -> Asked {
        loop {
            let signal = tokio::select! {
                () = received(self.terminate.as_mut()) => libc::SIGTERM,
                () = received(self.interrupt.as_mut()) => libc::SIGINT,
                () = received(self.hangup.as_mut()) => libc::SIGHUP,
            };
            match (signal, self.asked) {
                (libc::SIGHUP, None) if !self.had_terminal || !is_gone(&terminal()) => return Asked::Reload,
                (_, None) => {
                    self.asked = Some(Instant::now());
                    return Asked::Stop(signal);
                }
                (libc::SIGHUP, Some(_)) => {}
                (_, Some(asked)) if asked.elapsed() < SAME_REQUEST => {}
                (_, Some(_)) => return Asked::Stop(signal),
            }
        }
    }

    /// Notes that a stop was asked for by a command: the next signal is then a second request.
    pub(super) fn note_stop(&mut self) {
        self.asked.get_or_insert_with(Instant::now);
    }

    /// Resolves at the next request to stop, with the signal's number, after a first one. Cancel safe.
    pub(super) async fn stop(&mut self) -> i32 {
        loop {
            if let Asked::Stop(signal) = self.next().await {
                return signal;
            }
        }
    }
}

/// The request that a signal stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// Stop, by the signal's number; after an earlier request to stop, at once.
    Stop(i32),
    /// Read the configuration again and replace the workers.
    Reload,
}

/// Listens to a signal, unless the starter made this process ignore it, as `nohup` does with SIGHUP: a handler would
/// undo that.
fn unless_ignored(kind: SignalKind) -> io::Result<Option<Signal>> {
    let number = kind.as_raw_value();
    if !is_ignored(number) {
        return signal(kind).map(Some);
    }
    let name = signal_name(number).unwrap_or_default();
    tracing::info!(signal = %format!("SIG{name}"), "signal was ignored at the start and stays ignored");
    Ok(None)
}

/// Resolves at the next signal; never if the signal is not listened to. Cancel safe.
async fn received(signal: Option<&mut Signal>) {
    match signal {
        Some(signal) => drop(signal.recv().await),
        None => std::future::pending().await,
    }
}

/// Lets the spawner reap orphans as they end, without touching our own children. Every orphan that a worker leaves
/// becomes our child; as process 1 of a container we get every orphan in it.
pub(super) fn reap_orphans(spawner: &Spawner) -> io::Result<()> {
    let mut child_ended = signal(SignalKind::child())?;
    let spawner = spawner.clone();
    tokio::spawn(async move {
        loop {
            spawner.reap_orphans();
            if child_ended.recv().await.is_none() {
                return;
            }
        }
    });
    Ok(())
}

/// Opens the controlling terminal. There is none after it hung up, and a service never has one.
fn terminal() -> io::Result<()> {
    std::fs::File::open("/dev/tty").map(drop)
}

/// Returns true if there is no terminal any more. An error for lack of a descriptor does not count.
fn is_gone(terminal: &io::Result<()>) -> bool {
    let errno = terminal.as_ref().err().and_then(io::Error::raw_os_error);
    matches!(errno, Some(libc::ENXIO | libc::ENOENT | libc::EIO))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_says_that_there_is_no_terminal_means_so() {
        let errors = [libc::ENXIO, libc::ENOENT, libc::EIO, libc::EMFILE, libc::ENFILE, libc::ENOMEM, libc::EACCES];
        let gone = errors.map(|errno| is_gone(&Err(io::Error::from_raw_os_error(errno))));
        assert_eq!(gone, [true, true, true, false, false, false, false]);
        assert!(!is_gone(&Ok(())));
    }
}
