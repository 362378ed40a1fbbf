//! The workers' log is on a full disk: they write much, and none of it can be written down.

use std::time::Duration;

use crate::drill::allowed::Allowed;
use crate::drill::scene::{Scene, Trouble};
use crate::rig::ProductRig;

/// What the master says about it.
const SAID: &str = "cannot write the workers' log";

/// How long the workers' 4 MiB each, and the master's word, may take.
const PATIENCE: Duration = Duration::from_secs(20);

pub(super) fn play(scene: &mut Scene<'_>) -> Result<Allowed, Trouble> {
    let workers = scene.workers;
    scene.note("each worker begins to write 4 MiB to its standard output");
    let Some(disk) = &scene.target.disk else { return Err(Trouble::Unable("there is no full disk".to_owned())) };
    disk.go()?;
    let all = scene.waiting.wait(PATIENCE, || (disk.through(workers) == workers).then_some(()))?;
    let through = disk.through(workers);
    let seen = format!("{through} of {workers} got rid of theirs");
    scene.promise("workers are not blocked", "blocked", "20 s for it", seen, all.is_some());
    let is_said = |scene: &Scene<'_>| scene.target.product().map_or(0, times_said);
    scene.waiting.wait(PATIENCE, || (is_said(scene) > 0).then_some(()))?;
    while !scene.is_late(Duration::ZERO) {
        scene.pause(Duration::from_millis(50))?;
    }
    let said = is_said(scene);
    let seen = if said == 1 { "once".to_owned() } else { format!("{said} times") };
    scene.promise("the master says that it cannot write", "not said once", "once", seen, said == 1);
    Ok(Allowed::nothing())
}

fn times_said(rig: &ProductRig) -> usize {
    rig.stderr().matches(SAID).count()
}
