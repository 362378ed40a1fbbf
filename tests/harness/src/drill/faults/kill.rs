//! SIGKILL of random workers, one after the other, each when the last is back.

use std::time::Duration;

use super::{SLACK, broken_since, ends_show, replaced_words};
use crate::drill::allowed::Allowed;
use crate::drill::scene::{Scene, Trouble};
use crate::rig::{Signal, is_alive, signal};

/// At least so many, however short the load is to be.
const LEAST: u64 = 3;

/// How long a replacement may take, the program's own start included.
const REPLACED: Duration = Duration::from_secs(10);

pub(super) fn play(scene: &mut Scene<'_>) -> Result<Allowed, Trouble> {
    let workers = scene.workers;
    let broken_before = scene.target.broken_connections()?;
    let (mut kills, mut replaced, mut slowest, mut under_way) = (0, 0, Duration::ZERO, 0);
    let mut during = Vec::new();
    while kills == replaced && (kills < LEAST || !scene.is_late(Duration::from_secs(1))) {
        let victim = scene.victim()?;
        let (ended, _) = scene.counts();
        let from = scene.now();
        signal(victim.pid, Signal::KILL)?;
        // Once it is a zombie its connections have ended.
        scene.waiting.wait(Duration::from_secs(5), || (!is_alive(victim.pid)).then_some(()))?;
        let (_, started) = scene.counts();
        under_way += started.saturating_sub(ended);
        during.push((from, scene.now() + SLACK));
        kills += 1;
        scene.note(format!("SIGKILL to {} (pid {})", victim.name, victim.pid));
        if let Some(took) = scene.wait_replaced(workers, victim.pid, REPLACED)? {
            replaced += 1;
            slowest = slowest.max(took);
            scene.pause_between(200, 800)?;
        }
    }
    let seen = replaced_words(replaced, kills, slowest);
    scene.promise("each killed worker is replaced", "not replaced", "within 10 s", seen, replaced == kills);
    let broken = broken_since(scene, broken_before)?;
    let (most, what) = match broken {
        // The master's own count is not believed beyond what there can have been.
        Some(broken) => (broken.min(under_way + kills * scene.kept as u64), "was open on"),
        None => (under_way, "was under way at the end of"),
    };
    let because = format!("what {what} the {kills} killed workers");
    Ok(Allowed::taken_along(most, during, ends_show(scene.target.manner), because))
}
