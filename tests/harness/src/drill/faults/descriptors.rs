//! More clients than the master may have descriptors for: again and again many come that say nothing, so that all others
//! have to wait until they are gone.

use std::net::TcpStream;
use std::time::Duration;

use crate::drill::allowed::Allowed;
use crate::drill::scene::{Scene, Trouble};

/// Clients that say nothing: three times what the master has room for.
const SILENT: usize = 96;

/// The exit code of `roundelay status` for a pool that serves with less than it should.
const DEGRADED: i32 = 7;

/// How long a connect may take, which is the kernel's matter while the master waits.
const CONNECT: Duration = Duration::from_secs(5);

pub(super) fn play(scene: &mut Scene<'_>) -> Result<Allowed, Trouble> {
    let workers = scene.workers;
    let (mut rounds, mut refused, mut said) = (0, 0, 0);
    while rounds < 2 || !scene.is_late(Duration::from_secs(2)) {
        let address = scene.target.address();
        let silent: Vec<_> = (0..SILENT).map(|_| TcpStream::connect_timeout(&address, CONNECT)).collect();
        refused += silent.iter().filter(|client| client.is_err()).count();
        scene.note(format!("{SILENT} clients come and say nothing"));
        scene.pause_between(500, 1000)?;
        if let Some(rig) = scene.target.product() {
            said += usize::from(rig.order(&["status"])?.code == Some(DEGRADED));
        }
        drop(silent);
        rounds += 1;
        scene.pause_between(500, 1000)?;
    }
    let seen = format!("{refused} of {} were", rounds * SILENT);
    scene.promise("no client is refused", "refused", "none", seen, refused == 0);
    if scene.target.product().is_some() {
        let seen = format!("{said} of {rounds} times");
        let what = "`roundelay status` answers meanwhile, and says that clients wait";
        scene.promise(what, "silent status", "every time", seen, said == rounds);
    }
    let serving = scene.target.serving()?.len();
    let seen = format!("{serving} of {workers}");
    scene.promise("all workers serve at the end", "workers gone", "all", seen, serving == workers);
    Ok(Allowed::nothing())
}
