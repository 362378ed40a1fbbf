//! The values that tell a worker its identity, and that its own children do not see.

use std::collections::{BTreeMap, BTreeSet};

use super::{MODES, app, text};
use crate::kit::{Master, a_node, carried_out, descriptors, nodes, wait_until};

/// Answers with the id and the environment of its worker; at `/child`, with what a child process of its own sees.
const WHO: &str = "
const cluster = require('cluster');
require('http').createServer((q, r) => {
    if (q.url === '/child') {
        const list = 'env; ls -l /proc/self/fd';
        return r.end(require('child_process').execFileSync('sh', ['-c', list], { stdio: ['ignore', 'pipe', 'inherit'] }));
    }
    const hidden = ['NODE_CHANNEL_FD', 'NODE_UNIQUE_ID', 'NODE_CHANNEL_SERIALIZATION_MODE', 'PORT', 'HOST'];
    r.end(JSON.stringify({
        id: cluster.worker.id,
        kind: [cluster.isWorker, cluster.isPrimary, process.connected],
        hidden: hidden.filter(name => name in process.env).join(),
        instance: process.env.NODE_APP_INSTANCE,
        place: process.env.ROUNDELAY_WORKER,
    }));
}).listen(3000);";

/// The id of each of two workers, by its slot.
#[track_caller]
fn ids(master: &Master) -> BTreeMap<String, u64> {
    let mut ids = BTreeMap::new();
    // Workers answer mostly in turn. A client that a worker of a busy machine does not read in time moves to the
    // other.
    wait_until("both to have answered", || {
        let said: serde_json::Value = serde_json::from_str(&text(master.address(), "/")).unwrap();
        assert_eq!(said["kind"], serde_json::json!([true, false, true]), "{said}");
        assert_eq!(said["hidden"], "", "{said}");
        assert_eq!(said["instance"], said["place"], "{said}");
        let (place, id) = (said["place"].as_str().unwrap().to_owned(), said["id"].as_u64().unwrap());
        assert!(ids.insert(place, id).is_none_or(|before| before == id), "{said}: another number than before");
        ids.len() == 2
    });
    ids
}

#[test]
fn worker_is_a_cluster_worker_with_an_id_never_reused() {
    for node in nodes() {
        eprintln!("{node:?}");
        let master = app(node, &["--mode", "handoff", "-i", "2"], WHO).start_ready();
        let first = ids(&master);
        assert_eq!(first.keys().collect::<Vec<_>>(), ["0", "1"]);
        assert_eq!(first.values().copied().collect::<BTreeSet<_>>(), BTreeSet::from([1, 2]));
        carried_out(&master, &["reload"]);
        assert_eq!(ids(&master).into_values().collect::<BTreeSet<_>>(), BTreeSet::from([3, 4]));
    }
}

#[test]
fn child_of_a_worker_knows_nothing_of_its_channel() {
    for node in nodes() {
        eprintln!("{node:?}");
        let master = app(node, &["--mode", "handoff", "-i", "1"], WHO).start_ready();
        let seen = text(master.address(), "/child");
        for name in ["NODE_CHANNEL_FD", "NODE_UNIQUE_ID", "NODE_CHANNEL_SERIALIZATION_MODE"] {
            assert!(!seen.contains(name), "{seen}");
        }
        let is_beyond = |line: &str| {
            let (number, what) = line.rsplit_once(" -> ")?;
            Some(what.starts_with("socket:") && number.rsplit(' ').next()?.parse::<u32>().ok()? > 2)
        };
        assert!(!seen.lines().any(|line| is_beyond(line) == Some(true)), "{seen}");
    }
}

#[test]
fn worker_holds_a_public_listener_only_if_it_accepts() {
    let Some(node) = a_node() else { return };
    for (mode, listeners) in std::iter::zip(MODES, [0, 1]) {
        let master = app(node, &["--mode", mode, "-i", "1"], WHO).start_ready();
        let pid = master.pids()[0];
        let sockets =
            || -> Vec<_> { descriptors(pid).into_iter().filter(|(_, what)| what.starts_with("socket:")).collect() };
        eventually_eq!(sockets().len(), 1 + listeners, "{mode}: {:?}", sockets());
        assert_eq!(sockets()[0].0, 3, "{:?}", sockets());
    }
}
