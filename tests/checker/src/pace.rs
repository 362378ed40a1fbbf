//! A timer with a precision of a tenth of a millisecond. The runtime's own timers count whole milliseconds, so
//! thousands of operations a second would start in bunches.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec};
use tokio::io::unix::AsyncFd;

/// A timer of the kernel. Belongs to the runtime in which it was made.
#[derive(Debug)]
pub struct Pace(AsyncFd<OwnedFd>);

impl Pace {
    /// Makes a timer that is not set.
    ///
    /// # Errors
    ///
    /// Fails if no descriptor is left.
    pub fn new() -> io::Result<Self> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let timer = rustix::time::timerfd_create(TimerfdClockId::Monotonic, flags)?;
        #[expect(deprecated, reason = "its successor is unsafe for types that change their descriptor; ours keeps one")]
        let timer = AsyncFd::new(timer)?;
        Ok(Self(timer))
    }

    /// Waits for `duration`. Cancel safe.
    ///
    /// # Errors
    ///
    /// Returns an error of the kernel. None is expected.
    pub async fn wait(&self, duration: Duration) -> io::Result<()> {
        // Zero would stop the timer.
        let duration = duration.max(Duration::from_nanos(1));
        let zero = Timespec { tv_sec: 0, tv_nsec: 0 };
        let value = Timespec {
            tv_sec: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: duration.subsec_nanos().into(),
        };
        // Setting the timer anew also clears an expiry that a cancelled wait did not read.
        let timer = Itimerspec { it_interval: zero, it_value: value };
        rustix::time::timerfd_settime(self.0.get_ref(), TimerfdTimerFlags::empty(), &timer)?;
        loop {
            let mut guard = self.0.readable().await?;
            let read = guard.try_io(|fd| Ok(rustix::io::read(fd.get_ref(), &mut [0_u8; 8])?));
            if let Ok(read) = read {
                return read.map(drop);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    #[test]
    fn pace_never_wakes_early_even_after_a_cancelled_wait() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let pace = Pace::new().unwrap();
            for micros in [0, 50, 300, 2500] {
                let wait = Duration::from_micros(micros);
                let cancelled = tokio::time::timeout(Duration::ZERO, pace.wait(wait)).await;
                drop(cancelled);
                let start = Instant::now();
                pace.wait(wait).await.unwrap();
                assert!(start.elapsed() >= wait);
            }
        });
    }
}
