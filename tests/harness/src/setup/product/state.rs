//! Reads the workers from the master's state, schema `roundelay.state/1`. Pure.

use serde::Deserialize;

use crate::setup::WorkerProcess;

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
    #[serde(default)]
    state: String,
    pid: Option<u32>,
    #[serde(default)]
    others: Vec<Other>,
}

#[derive(Deserialize)]
struct Other {
    pid: Option<u32>,
}

/// Returns every worker process of all pools. During a reload a slot may have several; the serving one comes first.
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

/// Returns the serving process of each slot that is ready.
pub(super) fn ready(json: &str) -> Result<Vec<WorkerProcess>, serde_json::Error> {
    let state: State = serde_json::from_str(json)?;
    let slots = state.pools.into_iter().flat_map(|Pool { name, workers }| {
        let ready = workers.into_iter().filter(|slot| slot.state == "ready");
        ready.filter_map(move |slot| Some(WorkerProcess { name: format!("{name}/{}", slot.slot), pid: slot.pid? }))
    });
    Ok(slots.collect())
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
        assert!(ready(json).unwrap().is_empty(), "none is said to be ready");
    }

    #[test]
    fn only_ready_slots_serve_with_one_process_each() {
        let json = r#"{"pools":[{"name":"a","workers":[{"slot":0,"state":"ready","pid":7,"others":[{"pid":5}]},
            {"slot":1,"state":"starting","pid":8},{"slot":2,"state":"ready","pid":null}]}]}"#;
        let found: Vec<_> = ready(json).unwrap().into_iter().map(|worker| (worker.name, worker.pid)).collect();
        assert_eq!(found, [("a/0".to_owned(), 7)]);
    }
}
