//! Compares two configurations, and finds the changes that a running master cannot make. Pure.

use std::collections::{BTreeMap, BTreeSet};

use super::keys::{GLOBAL, POOL};
use super::{Config, PassedAs, PoolConfig, Program};
use crate::mode::{Acceptor, Inherits};

/// Keys of a pool that are fixed when its listeners and data threads start.
const FIXED: [&str; 9] =
    ["mode", "backlog", "keepalive", "user", "group", "log.to", "log.format", "log.max-size", "log.keep"];

/// Keys of the whole master that a running one can change.
const LIVE: [&str; 1] = ["log.level"];

/// One key whose value differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The key: `log.level`, `pool.api.workers`, or `pool.api` for a pool that is new or gone.
    pub key: String,
    /// The pool it belongs to; `None` for `[master]`, `[admin]` and `[log]`.
    pub pool: Option<String>,
    /// The present value, as the file would write it.
    pub old: String,
    /// The value that was read now.
    pub new: String,
    /// True if only a new master can apply the change.
    pub is_fixed: bool,
}

/// Returns every key in which `new` differs from `old`, in the order of the key table; pools by name. The value of an
/// environment variable is never shown, since it may be a secret.
pub fn compare(old: &Config, new: &Config) -> Vec<Change> {
    let mut changes = Vec::new();
    for key in GLOBAL {
        let values = ((key.show)(old), (key.show)(new));
        changes.extend(change(key.name.to_owned(), None, values, !LIVE.contains(&key.name)));
    }
    let (before, after) = (by_name(old), by_name(new));
    let names: BTreeSet<&str> = before.keys().chain(after.keys()).copied().collect();
    for name in names {
        match (before.get(name).copied(), after.get(name).copied()) {
            (Some(old), Some(new)) => compare_pools(old, new, &mut changes),
            (before, after) => {
                let word =
                    |pool: Option<&PoolConfig>| Some(if pool.is_some() { "a pool" } else { "no pool" }.to_owned());
                changes.extend(change(format!("pool.{name}"), Some(name), (word(before), word(after)), true));
            }
        }
    }
    changes
}

fn by_name(config: &Config) -> BTreeMap<&str, &PoolConfig> {
    config.pools.iter().map(|pool| (pool.name.as_str(), pool)).collect()
}

fn compare_pools(old: &PoolConfig, new: &PoolConfig, changes: &mut Vec<Change>) {
    let name = old.name.as_str();
    for key in POOL {
        let shown = |pool: &PoolConfig| match (key.name, &pool.program) {
            ("command", Program::Demo) => Some("the demo worker".to_owned()),
            _ => (key.show)(pool),
        };
        let values = (shown(old), shown(new));
        // The code that opens listeners for Node applications is set up at the start or not at all.
        let is_other = matches!(key.name, "command" | "socket-passing") && old.passed_as() != new.passed_as();
        let is_fixed = is_other || is_fixed(key.name, old);
        changes.extend(change(format!("pool.{name}.{}", key.name), Some(name), values, is_fixed));
    }
    let variables: BTreeSet<&String> = old.env.keys().chain(new.env.keys()).collect();
    for variable in variables.into_iter().filter(|variable| old.env.get(*variable) != new.env.get(*variable)) {
        let hidden = |pool: &PoolConfig| if pool.env.contains_key(variable) { "***" } else { "not set" }.to_owned();
        changes.push(Change {
            key: format!("pool.{name}.env.{variable}"),
            pool: Some(name.to_owned()),
            old: hidden(old),
            new: hidden(new),
            is_fixed: false,
        });
    }
}

/// Returns true if a pool that runs with `runs` cannot change this key. There are three reasons beside [`FIXED`].
/// Workers that accept by themselves have inherited their listeners. Where each slot has its own listener, the number
/// of listeners is fixed at the start. A Node application was told its address.
fn is_fixed(key: &str, runs: &PoolConfig) -> bool {
    match key {
        "listen" => runs.mode.acceptor() == Acceptor::Workers || runs.passed_as() == PassedAs::Node,
        "workers" => runs.mode.inherits() == Inherits::SlotListener,
        key => FIXED.contains(&key),
    }
}

fn change(
    key: String,
    pool: Option<&str>,
    (old, new): (Option<String>, Option<String>),
    is_fixed: bool,
) -> Option<Change> {
    let said = |value: Option<String>| value.unwrap_or_else(|| "not set".to_owned());
    (old != new).then(|| Change { key, pool: pool.map(str::to_owned), old: said(old), new: said(new), is_fixed })
}

impl std::fmt::Display for Change {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {} -> {}", self.key, self.old, self.new)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Sources, load};
    use super::*;

    /// Returns a configuration of one pool, with these settings over its defaults.
    fn config(sets: &[&str]) -> Config {
        let command = Some(("a".to_owned(), Program::Command(vec!["x".to_owned()])));
        let sets = sets.iter().map(|&set| set.to_owned()).collect();
        load(&Sources { command, sets, cpus: 8, ..Sources::default() }).expect("valid").config
    }

    fn keys(changes: &[Change]) -> Vec<&str> {
        changes.iter().map(|change| change.key.as_str()).collect()
    }

    #[test]
    fn same_configuration_changes_nothing() {
        assert_eq!(compare(&config(&[]), &config(&[])), []);
    }

    #[test]
    fn change_to_or_from_node_workers_is_fixed() {
        let of =
            |mode: &str, command: &str| config(&[&format!("pool.a.mode={mode}"), &format!("pool.a.command={command}")]);
        for (mode, is_fixed) in [("proxy", false), ("handoff", true), ("shared", true)] {
            let changes = compare(&of(mode, "['./mine']"), &of(mode, "['node', 'app.js']"));
            let command = changes.iter().find(|change| change.key == "pool.a.command").unwrap();
            assert_eq!(command.is_fixed, is_fixed, "{mode}");
        }
        let changes = compare(&of("handoff", "['node', 'a.js']"), &of("handoff", "['node', 'b.js']"));
        assert!(changes.iter().all(|change| !change.is_fixed), "{changes:?}");
    }

    #[test]
    fn every_changed_key_is_found_and_fixed_ones_are_marked() {
        let settings = [
            ("master.control", "off"),
            ("master.threads", "3"),
            ("master.max-connections", "77"),
            ("master.spawn-rate", "7"),
            ("admin.listen", "off"),
            ("log.level", "debug"),
            ("log.format", "json"),
            ("command", "['y']"),
            ("cwd", "/"),
            ("listen", ":81"),
            ("backlog", "7"),
            ("workers", "7"),
            ("mode", "shared"),
            ("strategy", "p2c"),
            ("weights", "[2, 1]"),
            ("slow-start", "7s"),
            ("endpoint", "unix"),
            ("socket-passing", "listen-fds"),
            ("ready", "none"),
            ("ready-timeout", "7s"),
            ("min-ready", "2"),
            ("proxy-protocol", "v2"),
            ("connect-timeout", "70ms"),
            ("source-addresses", "1"),
            ("dispatch-timeout", "7s"),
            ("idle-timeout", "7s"),
            ("half-closed-timeout", "7s"),
            ("keepalive", "7s"),
            ("hold-timeout", "7s"),
            ("max-connections", "77"),
            ("max-connections-per-source", "7"),
            ("drain", "wait"),
            ("drain-timeout", "7s"),
            ("stop-signal", "INT"),
            ("stop-signal-to", "group"),
            ("kill-timeout", "7s"),
            ("background", "keep"),
            ("settle", "7s"),
            ("max-surge", "2"),
            ("user", "uid:7"),
            ("group", "gid:7"),
            ("no-new-privs", "false"),
            ("limit-nofile", "77"),
            ("limit-core", "off"),
            ("log.to", "off"),
            ("log.max-size", "7MiB"),
            ("log.keep", "7"),
            ("max-memory", "777MiB"),
            ("max-age", "7h"),
            ("recover-queue", "false"),
            ("health.probe", "/h"),
            ("health.interval", "7s"),
            ("health.fast-interval", "70ms"),
            ("health.timeout", "70ms"),
            ("health.fall", "7"),
            ("health.rise", "7"),
            ("health.heartbeat", "7s"),
            ("health.hang-timeout", "7s"),
            ("health.busy-timeout", "70s"),
            ("restart.backoff", "7ms"),
            ("restart.backoff-max", "70s"),
            ("restart.reset-after", "7s"),
            ("restart.max-exits", "7"),
            ("restart.window", "7s"),
            ("restart.give-up", "exit"),
        ];
        let known = GLOBAL.iter().map(|key| key.name).chain(POOL.iter().map(|key| key.name));
        // Variables are tested below.
        for name in known.filter(|name| *name != "env") {
            let (_, value) = settings.iter().find(|(key, _)| *key == name).unwrap_or_else(|| panic!("no {name}"));
            let is_global = GLOBAL.iter().any(|key| key.name == name);
            let path = if is_global { name.to_owned() } else { format!("pool.a.{name}") };
            let changes = compare(&config(&[]), &config(&[&format!("{path}={value}")]));
            let found = changes.iter().find(|change| change.key == path).unwrap_or_else(|| panic!("{path}"));
            assert_eq!(found.pool.as_deref(), (!is_global).then_some("a"), "{path}");
            let is_live = if is_global { LIVE.contains(&name) } else { !FIXED.contains(&name) };
            assert_eq!(found.is_fixed, !is_live, "{path}");
            assert_ne!(found.old, found.new, "{path}");
        }
    }

    #[test]
    fn listen_is_fixed_where_workers_hold_the_listeners() {
        for (mode, is_fixed) in [("proxy", false), ("shared", true), ("reuseport", true)] {
            let mode = format!("pool.a.mode={mode}");
            let changes = compare(&config(&[&mode]), &config(&[&mode, "pool.a.listen=:81"]));
            assert_eq!((keys(&changes), changes[0].is_fixed), (vec!["pool.a.listen"], is_fixed), "{mode}");
        }
    }

    #[test]
    fn workers_is_fixed_where_each_worker_has_its_listener() {
        for (mode, is_fixed) in [("proxy", false), ("shared", false), ("reuseport", true)] {
            let mode = format!("pool.a.mode={mode}");
            let changes = compare(&config(&[&mode]), &config(&[&mode, "pool.a.workers=7"]));
            assert_eq!((keys(&changes), changes[0].is_fixed), (vec!["pool.a.workers"], is_fixed), "{mode}");
        }
    }

    #[test]
    fn change_is_written_as_in_the_file() {
        let changes = compare(&config(&["pool.a.workers=2"]), &config(&["pool.a.workers=4", "log.level=warn"]));
        let said: Vec<String> = changes.iter().map(ToString::to_string).collect();
        assert_eq!(said, ["log.level: \"info\" -> \"warn\"", "pool.a.workers: 2 -> 4"]);
    }

    #[test]
    fn changed_variable_is_named_and_its_value_hidden() {
        let changes = compare(&config(&["pool.a.env.A=s3cret", "pool.a.env.B=same"]), &config(&["pool.a.env.B=same"]));
        assert_eq!(keys(&changes), ["pool.a.env.A"]);
        assert_eq!((changes[0].old.as_str(), changes[0].new.as_str()), ("***", "not set"));
        assert!(!changes[0].is_fixed);
    }

    #[test]
    fn new_or_removed_pool_needs_another_master() {
        let (one, mut two) = (config(&[]), config(&[]));
        two.pools.push(PoolConfig::new("b", Program::Demo));
        for (old, new) in [(&one, &two), (&two, &one)] {
            let changes = compare(old, new);
            assert_eq!(keys(&changes), ["pool.b"]);
            assert!(changes[0].is_fixed && changes[0].pool.as_deref() == Some("b"));
        }
    }
}
