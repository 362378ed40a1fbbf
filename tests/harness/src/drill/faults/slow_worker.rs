//! One worker that gets only half of the time: stopped and continued again and again, whatever the program is.

use std::time::Duration;

use crate::drill::promise::Allowed;
use crate::drill::scene::{Scene, Stopped, Trouble};

/// How long it stands still, and how long it runs.
const PULSE: Duration = Duration::from_millis(50);

pub(super) fn play(scene: &mut Scene<'_>) -> Result<Allowed, Trouble> {
    let victim = scene.victim()?;
    scene.note(format!("{} (pid {}) is stopped and continued every 50 ms", victim.name, victim.pid));
    let mut pulses = 0_u32;
    while !scene.is_late(Duration::ZERO) {
        let stopped = Stopped::new(victim.pid)?;
        scene.pause(PULSE)?;
        drop(stopped);
        scene.pause(PULSE)?;
        pulses += 1;
    }
    let is_there = scene.target.serving()?.iter().any(|worker| worker.pid == victim.pid);
    let seen = format!("{} after {pulses} pulses", if is_there { "it still serves" } else { "it is gone" });
    scene.promise("who is only slow is not replaced", "the same process", seen, is_there);
    Ok(Allowed::nothing())
}
