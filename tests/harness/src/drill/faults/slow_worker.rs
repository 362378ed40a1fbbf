//! One worker that gets only half of the time: stopped and continued again and again, whatever the program is.

use std::time::Duration;

use crate::drill::allowed::Allowed;
use crate::drill::scene::{Scene, Stopped, Trouble};
use crate::drill::waits::{Pulses, most_do_not_wait};

/// How long it stands still, and how long it runs.
const PULSE: Duration = Duration::from_millis(50);

/// At least so many pulses, however short the load is to be: two seconds of it.
const LEAST: u32 = 20;

pub(super) fn play(scene: &mut Scene<'_>) -> Result<Allowed, Trouble> {
    let victim = scene.victim()?;
    scene.note(format!("{} (pid {}) is stopped and continued every 50 ms", victim.name, victim.pid));
    let mut times = 0;
    let mut pulses = Pulses::default();
    while times < LEAST || !scene.is_late(Duration::ZERO) {
        let stopped = Stopped::new(victim.pid)?;
        let (answers, length) = answered(scene)?;
        pulses.still(answers, length);
        drop(stopped);
        let (answers, length) = answered(scene)?;
        pulses.running(answers, length);
        times += 1;
    }
    let is_there = scene.target.serving()?.iter().any(|worker| worker.pid == victim.pid);
    let seen = format!("{} after {times} pulses", if is_there { "it still serves" } else { "it is gone" });
    scene.promise("who is only slow is not replaced", "replaced", "the same process", seen, is_there);
    if scene.has_others() {
        scene.promises.extend(pulses.others_are_answered(scene.workers));
        let (median, usual) = (scene.median(), scene.usual);
        scene.promises.push(most_do_not_wait(median, usual));
    }
    Ok(Allowed::nothing())
}

/// Good answers in one pulse, and how long it was.
fn answered(scene: &mut Scene<'_>) -> Result<(u64, Duration), Trouble> {
    let (before, from) = (scene.good(), scene.now());
    scene.pause(PULSE)?;
    Ok((scene.good() - before, scene.now() - from))
}
