//! What the operator's signals ask for.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::os::spawner::Spawner;

/// The signals the master listens to; all others keep their default.
#[derive(Debug)]
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    pub(super) fn listen() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// Resolves at the next request to stop, with the signal's number. Cancel safe.
    pub(super) async fn stop(&mut self) -> i32 {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return libc::SIGTERM,
                _ = self.interrupt.recv() => return libc::SIGINT,
                _ = self.hangup.recv() => {
                    // A closed terminal sends it too, and then there is nobody left to run for.
                    if !has_terminal() {
                        return libc::SIGHUP;
                    }
                    tracing::warn!("SIGHUP: reload is not in this version; nothing was changed");
                }
            }
        }
    }
}

/// As process 1 of a container every orphan in it becomes our child: reaps them as they end, without touching our own.
pub(super) fn reap_orphans_if_init(spawner: &Spawner) -> io::Result<()> {
    if std::process::id() != 1 {
        return Ok(());
    }
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

/// Whether the controlling terminal of this process is still there. A service never had one and then SIGHUP means reload.
fn has_terminal() -> bool {
    // Opening it fails with ENXIO both where it hung up and where there never was one; the session tells the two apart.
    let opens = std::fs::File::open("/dev/tty").is_ok();
    let had_one = rustix::process::getsid(None).is_ok_and(|session| {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", session.as_raw_pid())).unwrap_or_default();
        // Field 7 of /proc/PID/stat, after the command in parentheses: the controlling terminal, 0 for none.
        stat.rsplit_once(") ").and_then(|(_, rest)| rest.split(' ').nth(4)).is_some_and(|tty| tty != "0")
    });
    opens || !had_one
}
