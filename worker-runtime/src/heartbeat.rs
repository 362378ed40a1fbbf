//! Sends `WATCHDOG=1` at a quarter of the interval that the supervisor asks for, as long as the runtime's loop runs.

use std::ffi::OsString;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;

use crate::error::StartError;
use crate::notify::Notifier;
use crate::protocol::{WATCHDOG_PID, WATCHDOG_USEC};

/// The shortest time between two heartbeats. A supervisor that asks for more than a thousand a second gets a thousand.
const SHORTEST: Duration = Duration::from_millis(1);

/// The number of heartbeats in one interval of the supervisor. sd_watchdog_enabled(3) recommends two. With two, a
/// heartbeat is missed if it comes half an interval late, as happens when a busy runtime looks at its timers late. With
/// four, a heartbeat may come three quarters of an interval late.
const BEATS: u32 = 4;

/// The task that sends heartbeats. Dropping this value ends the task.
#[derive(Debug)]
pub(crate) struct Heartbeat(JoinHandle<()>);

impl Heartbeat {
    /// Starts to send heartbeats if the environment asks this process for them.
    pub(crate) fn start(
        lookup: &impl Fn(&str) -> Option<OsString>,
        notifier: &Notifier,
    ) -> Result<Option<Self>, StartError> {
        let Some(limit) = limit(lookup)? else { return Ok(None) };
        let notifier = notifier.clone();
        Ok(Some(Self(tokio::spawn(async move {
            let mut beat = tokio::time::interval((limit / BEATS).max(SHORTEST));
            // After a pause one heartbeat is enough. A burst of late ones would only fill the supervisor's queue.
            beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                beat.tick().await;
                // The supervisor notices a missing heartbeat by itself, so an error here needs no other reaction.
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

/// Returns the time within which the supervisor expects a heartbeat of *this* process; `None` if it expects none.
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
    async fn heartbeat_is_a_quarter_of_the_interval_until_dropped() {
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
        // The first heartbeat comes at once.
        assert!(begun.elapsed() >= Duration::from_millis(290), "{:?}", begun.elapsed());
        drop(heartbeat);
        tokio::task::yield_now().await;
        while socket.try_recv(&mut said).is_ok() {}
        timeout(Duration::from_millis(300), socket.recv(&mut said)).await.expect_err("the heartbeat has ended");
    }

    #[tokio::test]
    async fn blocked_loop_sends_no_heartbeat() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("notify");
        // A socket of the standard library. A tokio socket would ask the kernel only while the runtime's loop runs.
        let socket = std::os::unix::net::UnixDatagram::bind(&path).expect("bind");
        socket.set_nonblocking(true).expect("non-blocking");
        let _heartbeat = start(&path, "20000", None).expect("valid").expect("anybody's");
        let mut said = [0; 32];
        let heard = async |said: &mut [u8]| {
            while socket.recv(said).is_err() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        timeout(Duration::from_secs(10), heard(&mut said)).await.expect("a heartbeat");
        while socket.recv(&mut said).is_ok() {}
        std::thread::sleep(Duration::from_millis(100));
        assert!(socket.recv(&mut said).is_err(), "the runtime's thread was blocked");
        timeout(Duration::from_secs(10), heard(&mut said)).await.expect("the heartbeat is back");
    }

    #[tokio::test]
    async fn heartbeat_needs_a_valid_interval_for_this_process() {
        let nowhere = Path::new("/nonexistent");
        assert!(start(nowhere, "1000000", Some("1".to_owned())).expect("valid").is_none());
        assert!(start(nowhere, "", None).expect("valid").is_none());
        for wrong in ["0", "-1", "soon"] {
            let error = start(nowhere, wrong, None).expect_err(wrong).to_string();
            assert_eq!(error, format!("WATCHDOG_USEC must be a number of microseconds above 0; it is `{wrong}`"));
        }
    }
}
