//! The workers in the master's state, schema `roundelay.state/1`. Pure.

use serde::Deserialize;

use crate::rig::WorkerProcess;

#[derive(Deserialize)]
struct State {
    pools: Vec<Pool>,
}

#[derive(Deserialize)]
struct Pool {
    name: String,
    workers: Vec<Slot>,
}

#[derive(Deserialize)]
struct Slot {
    slot: usize,
    pid: Option<u32>,
    #[serde(default)]
    others: Vec<Other>,
}

#[derive(Deserialize)]
struct Other {
    pid: Option<u32>,
}

/// Every worker process of all pools. A slot may have several while it is reloaded: the one that serves comes first.
pub(super) fn workers(json: &str) -> Result<Vec<WorkerProcess>, serde_json::Error> {
    let state: State = serde_json::from_str(json)?;
    let mut found = Vec::new();
    for pool in state.pools {
        for slot in pool.workers {
            let pids = slot.pid.into_iter().chain(slot.others.into_iter().filter_map(|other| other.pid));
            found.extend(pids.map(|pid| WorkerProcess { name: format!("{}/{}", pool.name, slot.slot), pid }));
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_process_of_a_slot_is_found_the_serving_one_first() {
        let json = r#"{"schema":"roundelay.state/1","pools":[{"name":"a","workers":[
            {"slot":0,"pid":7,"others":[{"state":"draining","generation":1,"pid":5},{"pid":null}]},
            {"slot":1,"pid":null,"others":[]},{"slot":2,"pid":9}]}]}"#;
        let workers: Vec<_> = workers(json).unwrap().into_iter().map(|worker| (worker.name, worker.pid)).collect();
        assert_eq!(workers, [("a/0".to_owned(), 7), ("a/0".to_owned(), 5), ("a/2".to_owned(), 9)]);
        assert!(super::workers("{}").is_err());
    }
}
