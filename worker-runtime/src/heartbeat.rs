//! `WATCHDOG=1` at a quarter of the interval the supervisor asks for, as long as the runtime turns.

use std::ffi::OsString;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;

use crate::error::StartError;
use crate::notify::Notifier;
use crate::protocol::{WATCHDOG_PID, WATCHDOG_USEC};

/// A supervisor that asks for more than a thousand beats a second gets a thousand.
const SHORTEST: Duration = Duration::from_millis(1);

/// Beats in one interval of the supervisor. sd_watchdog_enabled(3) recommends two, and then a beat is missed that comes half
/// an interval late, as it may where a busy runtime looks at its timers late. With four it may come three quarters late.
const BEATS: u32 = 4;

/// The task that beats; it ends with this.
#[derive(Debug)]
pub(crate) struct Heartbeat(JoinHandle<()>);

impl Heartbeat {
    /// Begins to beat if the environment asks this process for it.
    pub(crate) fn start(
        lookup: &impl Fn(&str) -> Option<OsString>,
        notifier: &Notifier,
    ) -> Result<Option<Self>, StartError> {
        let Some(limit) = limit(lookup)? else { return Ok(None) };
        let notifier = notifier.clone();
        Ok(Some(Self(tokio::spawn(async move {
            let mut beat = tokio::time::interval((limit / BEATS).max(SHORTEST));
            // After a pause one beat says all; a burst of late ones would only fill the supervisor's queue.
            beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                beat.tick().await;
                // A beat that does not arrive is what the supervisor looks for; nobody else could do more about it.
                let _ = notifier.alive().await;
            }
        }))))
    }
}

impl Drop for Heartbeat {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// How long the supervisor waits for a sign of life of *this* process; `None` if it does not.
fn limit(lookup: &impl Fn(&str) -> Option<OsString>) -> Result<Option<Duration>, StartError> {
    let set = |name: &str| lookup(name).filter(|value| !value.is_empty());
    let is_for_us = set(WATCHDOG_PID).is_none_or(|pid| pid == *std::process::id().to_string());
    let Some(value) = set(WATCHDOG_USEC).filter(|_| is_for_us) else { return Ok(None) };
    match value.to_str().and_then(|value| value.parse().ok()) {
        Some(0) | None => Err(StartError::variable(WATCHDOG_USEC, &value, "a number of microseconds above 0")),
        Some(micros) => Ok(Some(Duration::from_micros(micros))),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use tokio::net::UnixDatagram;
    use tokio::time::{Instant, timeout};

    use super::*;

    fn start(socket: &Path, usec: &str, pid: Option<String>) -> Result<Option<Heartbeat>, StartError> {
        let lookup = |name: &str| match name {
            WATCHDOG_USEC => Some(usec.into()),
            WATCHDOG_PID => pid.clone().map(Into::into),
            _ => None,
        };
        Heartbeat::start(&lookup, &Notifier::to(Some(socket.into())))
    }

    #[tokio::test]
    async fn it_beats_at_a_quarter_of_the_interval_until_it_is_dropped() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("notify");
        let socket = UnixDatagram::bind(&path).expect("bind");
        let heartbeat = start(&path, "400000", Some(std::process::id().to_string())).expect("valid").expect("ours");
        let begun = Instant::now();
        let mut said = [0; 32];
        for _ in 0..4 {
            let n = timeout(Duration::from_secs(10), socket.recv(&mut said)).await.expect("in time").expect("a beat");
            assert_eq!(&said[..n], b"WATCHDOG=1");
        }
        // The first comes at once.
        assert!(begun.elapsed() >= Duration::from_millis(290), "{:?}", begun.elapsed());
        drop(heartbeat);
        tokio::task::yield_now().await;
        while socket.try_recv(&mut said).is_ok() {}
        timeout(Duration::from_millis(300), socket.recv(&mut said)).await.expect_err("it has ended");
    }

    #[tokio::test]
    async fn a_blocked_loop_does_not_beat() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("notify");
        // The standard library's: tokio's would look at the kernel only when the loop turns.
        let socket = std::os::unix::net::UnixDatagram::bind(&path).expect("bind");
        socket.set_nonblocking(true).expect("non-blocking");
        let _heartbeat = start(&path, "20000", None).expect("valid").expect("anybody's");
        let mut said = [0; 32];
        let heard = async |said: &mut [u8]| {
            while socket.recv(said).is_err() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        timeout(Duration::from_secs(10), heard(&mut said)).await.expect("a beat");
        while socket.recv(&mut said).is_ok() {}
        std::thread::sleep(Duration::from_millis(100));
        assert!(socket.recv(&mut said).is_err(), "this thread did not turn");
        timeout(Duration::from_secs(10), heard(&mut said)).await.expect("and now it does again");
    }

    #[tokio::test]
    async fn what_is_not_asked_of_this_process_is_not_done() {
        let nowhere = Path::new("/nonexistent");
        assert!(start(nowhere, "1000000", Some("1".to_owned())).expect("valid").is_none());
        assert!(start(nowhere, "", None).expect("valid").is_none());
        for wrong in ["0", "-1", "soon"] {
            let error = start(nowhere, wrong, None).expect_err(wrong).to_string();
            assert_eq!(error, format!("WATCHDOG_USEC must be a number of microseconds above 0; it is `{wrong}`"));
        }
    }
}
