//! `roundelay strategy`: shows a pool's strategy and the others, or sets another one.

use std::path::Path;
use std::process::ExitCode;

use super::args::Strategy;
use super::target::checked;
use super::{command, state};
use crate::admin::commands::CommandError;
use crate::api::format::escape;
use crate::api::state::State;
use crate::failure::{Failure, code};
use crate::strategy::ALL;

/// Shows the strategies of a pool, or sets another one.
pub(super) fn run(control: &Path, strategy: &Strategy) -> Result<ExitCode, Failure> {
    let pool = checked(&strategy.pool)?;
    if let Some(name) = &strategy.name {
        return command::strategy(control, &pool, name, &strategy.watching);
    }
    let (state, _) = state::fetch(control)?;
    let text = shown(&state, &pool, strategy.watching.json)?;
    state::print(&[text.as_bytes()])?;
    Ok(ExitCode::SUCCESS)
}

/// Returns the list of strategies with a mark at the present one; as JSON only the present one. Pure.
fn shown(state: &State, name: &str, is_json: bool) -> Result<String, Failure> {
    let pool = state.pools.iter().find(|pool| pool.name == name).ok_or_else(|| {
        let refused = CommandError::no_pool(name, state.pools.iter().map(|pool| pool.name.as_str()));
        let failure = Failure::new(code::NO_TARGET, refused.why);
        refused.hint.iter().fold(failure, |failure, hint| failure.hint(escape(hint)))
    })?;
    if is_json {
        return Ok(format!("{}\n", serde_json::json!({ "pool": pool.name, "strategy": pool.strategy })));
    }
    if !ALL.iter().any(|entry| entry.name == pool.strategy) {
        return Ok(format!("{}\n", chosen_elsewhere(&pool.strategy, &pool.mode)));
    }
    let width = ALL.iter().map(|entry| entry.name.len()).max().unwrap_or_default();
    let line = |entry: &crate::strategy::Entry| {
        let mark = if entry.name == pool.strategy { '*' } else { ' ' };
        format!("{mark} {:width$}  {}\n", entry.name, entry.summary)
    };
    Ok(ALL.iter().map(line).collect())
}

/// Returns the text for a choice that is not in the list: the kernel chooses, or a master of a later version uses a
/// strategy that this one does not know.
fn chosen_elsewhere(by: &str, mode: &str) -> String {
    match by {
        "kernel" => format!("kernel: in mode {} the workers accept by themselves", escape(mode)),
        by => escape(by),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::state::PoolEntry;

    fn state(strategy: &str, mode: &str) -> State {
        let pool = serde_json::json!({
            "name": "api", "listen": [], "mode": mode, "strategy": strategy, "generation": 1, "workers_desired": 1,
            "workers_ready": 1, "accept_state": "open", "accepted": 0, "active": 0, "rejected": 0, "workers": [],
        });
        let pool: PoolEntry = serde_json::from_value(pool).unwrap();
        let (schema, version) = (State::SCHEMA.to_owned(), "1".to_owned());
        let (is_ready, is_stopping, admin) = (true, false, None);
        State { schema, version, pid: 1, started: 0.0, is_ready, is_stopping, admin, pools: vec![pool] }
    }

    #[test]
    fn every_strategy_is_listed_and_the_present_one_is_marked() {
        let text = shown(&state("p2c", "proxy"), "api", false).unwrap();
        assert_eq!(text.lines().count(), ALL.len());
        let marked: Vec<&str> = text.lines().filter(|line| line.starts_with('*')).collect();
        assert_eq!(marked, ["* p2c                of two drawn at random, the one with fewer open connections"]);
        let json = shown(&state("p2c", "proxy"), "api", true).unwrap();
        assert_eq!(json, "{\"pool\":\"api\",\"strategy\":\"p2c\"}\n");
    }

    #[test]
    fn mode_without_strategy_is_named_and_unknown_pool_is_an_error() {
        let text = shown(&state("kernel", "shared"), "api", false).unwrap();
        assert_eq!(text, "kernel: in mode shared the workers accept by themselves\n");
        assert_eq!(shown(&state("p2c", "proxy"), "app", false).unwrap_err().code, code::NO_TARGET);
    }
}
