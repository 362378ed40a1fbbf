//! SIGSTOP of a worker that nobody continues: it is found by what it does not do.

use std::time::Duration;

use super::{SLACK, broken_since, ends_show, replaced_words};
use crate::drill::allowed::Allowed;
use crate::drill::scene::{Scene, Stopped, Trouble};

/// How long it may take until it is found and replaced: `hang-timeout` (3 s), what comes before it, and a start, on a busy
/// machine.
const FOUND: Duration = Duration::from_secs(15);

/// What one round takes at most where all goes well; none is begun that would be cut short.
const ROUND: Duration = Duration::from_secs(6);

pub(super) fn play(scene: &mut Scene<'_>) -> Result<Allowed, Trouble> {
    let workers = scene.workers;
    let broken_before = scene.target.broken_connections()?;
    let (mut stops, mut replaced, mut slowest, mut had) = (0, 0, Duration::ZERO, 0);
    let mut during = Vec::new();
    while stops == replaced && (stops == 0 || !scene.is_late(ROUND)) {
        let victim = scene.victim()?;
        let (ended, _) = scene.counts();
        let from = scene.now();
        let stopped = Stopped::new(victim.pid)?;
        let (_, started) = scene.counts();
        // What it had taken are operations under way, and kept connections on which requests come to it later.
        had += started.saturating_sub(ended) + scene.kept as u64;
        stops += 1;
        scene.note(format!("SIGSTOP to {} (pid {})", victim.name, victim.pid));
        let took = scene.wait_replaced(workers, victim.pid, FOUND)?;
        drop(stopped);
        during.push((from, scene.now() + SLACK));
        if let Some(took) = took {
            replaced += 1;
            slowest = slowest.max(took);
            scene.pause_between(300, 900)?;
        }
    }
    let seen = replaced_words(replaced, stops, slowest);
    scene.promise("a stopped worker is found and replaced", "never found", "within 15 s", seen, replaced == stops);
    let broken = broken_since(scene, broken_before)?;
    let (most, because) = match broken {
        // The master's own count is not believed beyond what there can have been.
        Some(broken) => (broken.min(had), "connections that the stopped workers had".to_owned()),
        None => (had, format!("what was under way and {} kept connections, at each of {stops}", scene.kept)),
    };
    Ok(Allowed::taken_along(most, during, ends_show(scene.target.manner), because))
}
