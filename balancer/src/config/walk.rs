//! Walks a tree of values. Finds the keys that it sets, and the words that are no keys. Pure.

use std::collections::BTreeSet;

use super::Config;
use super::PoolConfig;
use super::keys::{GLOBAL, Key, LATER, POOL};
use super::problem::{Position, Problem};
use super::value::{Raw, Value, Word, nearest};

/// One key that was set.
pub(super) struct Entry {
    pub(super) key: Target,
    pub(super) value: Value,
}

/// A key, and the pool that it is for.
pub(super) enum Target {
    Global(&'static Key<Config>),
    Pool(String, &'static Key<PoolConfig>),
}

impl Target {
    /// Returns the key's path, such as `pool.api.health.interval`.
    pub(super) fn path(&self) -> String {
        match self {
            Target::Global(key) => key.name.to_owned(),
            Target::Pool(pool, key) => format!("pool.{pool}.{}", key.name),
        }
    }
}

/// The contents of a tree: keys, pools and problems.
#[derive(Default)]
pub(super) struct Walk {
    pub(super) entries: Vec<Entry>,
    pub(super) pools: Vec<(String, Position)>,
    pub(super) problems: Vec<Problem>,
    /// Keys that a misspelt key probably meant. A second error that only follows from their absence is not reported.
    pub(super) suspects: BTreeSet<String>,
}

/// The number of mistakes for which the key that was probably meant is searched.
const MOST_HINTS: usize = 100;

const SECTIONS: [&str; 4] = ["master", "admin", "log", "pool"];

/// Reads a whole document or the tree of one `--set`.
pub(super) fn walk(document: &Value) -> Walk {
    let mut walk = Walk::default();
    let Raw::Table(sections) = &document.raw else { return walk };
    for (word, value) in sections {
        match word.text.as_str() {
            "pool" => walk.pools(word, value),
            "master" | "admin" | "log" => {
                let path = word.text.clone();
                let scope = Scope { keys: GLOBAL, title: format!("[{path}]"), target: &Target::Global };
                walk.table(&scope, &path, word, value);
            }
            _ => walk.unknown_section(word, value),
        }
    }
    walk
}

/// One table of the file and the keys it may have.
struct Scope<'a, T: 'static> {
    keys: &'static [Key<T>],
    title: String,
    target: &'a dyn Fn(&'static Key<T>) -> Target,
}

impl Walk {
    fn problem(&mut self, at: &Position, message: String, label: Option<String>) {
        self.problems.push(Problem::error(at.clone(), message).maybe_label(label));
    }

    fn pools(&mut self, word: &Word, value: &Value) {
        let Raw::Table(pools) = &value.raw else {
            return self.problem(&word.at, "`pool` must be a table".into(), Some("write [pool.NAME]".into()));
        };
        for (name, value) in pools {
            self.pool(name, value);
        }
    }

    fn pool(&mut self, name: &Word, value: &Value) {
        // `[pool]` has keys of a pool: its name was forgotten.
        if !matches!(value.raw, Raw::Table(_)) && POOL.iter().any(|key| key.name == name.text) {
            let message = format!("`{}` stands in [pool], which has no name", name.text);
            return self.problem(&name.at, message, Some("write [pool.NAME] above it".into()));
        }
        if let Err(reason) = name_is_valid(&name.text) {
            let message = format!("`{}` cannot be a pool's name", name.text);
            self.problem(&name.at, message, Some(reason.to_owned()));
        }
        self.pools.push((name.text.clone(), name.at.clone()));
        let pool = name.text.clone();
        let target = |key| Target::Pool(pool.clone(), key);
        let scope = Scope { keys: POOL, title: format!("[pool.{pool}]"), target: &target };
        self.table(&scope, "", name, value);
    }

    /// Reads the table that `prefix` names among the scope's keys.
    fn table<T>(&mut self, scope: &Scope<'_, T>, prefix: &str, word: &Word, value: &Value) {
        let Raw::Table(entries) = &value.raw else {
            let inside: Vec<&str> = below(scope.keys, prefix).collect();
            let label = inside.first().map(|key| format!("write {} = {{ {key} = … }}", word.text));
            let message = format!("`{}` must be a table", word.text);
            return self.problem(&value.at, message, label);
        };
        for (word, value) in entries {
            let path = if prefix.is_empty() { word.text.clone() } else { format!("{prefix}.{}", word.text) };
            if let Some(key) = scope.keys.iter().find(|key| key.name == path) {
                self.entries.push(Entry { key: (scope.target)(key), value: value.clone() });
            } else if below(scope.keys, &path).next().is_some() {
                self.table(scope, &path, word, value);
            } else {
                self.unknown_key(scope, prefix, word);
            }
        }
    }

    fn unknown_key<T>(&mut self, scope: &Scope<'_, T>, prefix: &str, word: &Word) {
        let title = if prefix.is_empty() || scope.title == format!("[{prefix}]") {
            scope.title.clone()
        } else {
            format!("{}.{prefix}]", scope.title.trim_end_matches(']'))
        };
        if prefix.is_empty() && LATER.contains(&word.text.as_str()) {
            return self.problem(&word.at, format!("`{}` is not in this version", word.text), None);
        }
        // Each search compares with every key, so only the first mistakes get one.
        let is_among_first = self.problems.len() < MOST_HINTS;
        let near = is_among_first.then(|| nearest(&word.text, below(scope.keys, prefix))).flatten();
        let elsewhere = || {
            let ends = |name: &&str| name.rsplit('.').next() == Some(word.text.as_str());
            let here = scope.keys.iter().map(|key| key.name).find(ends).filter(|_| prefix.is_empty());
            let of_pool = || POOL.iter().map(|key| key.name).find(ends).map(|name| format!("`{name}` of [pool.NAME]"));
            let global = || {
                let (section, name) = GLOBAL.iter().map(|key| key.name).find(ends)?.split_once('.')?;
                Some(format!("`{name}` of [{section}]"))
            };
            here.map(|name| format!("`{name}`")).or_else(of_pool).or_else(global)
        };
        let label = match near {
            Some(name) => {
                let full = if prefix.is_empty() { name.to_owned() } else { format!("{prefix}.{name}") };
                if let Some(key) = scope.keys.iter().find(|key| key.name == full) {
                    self.suspects.insert((scope.target)(key).path());
                }
                Some(format!("did you mean `{name}`?"))
            }
            None => elsewhere().map(|meant| format!("did you mean {meant}?")),
        };
        self.problem(&word.at, format!("unknown key `{}` in {title}", word.text), label);
    }

    fn unknown_section(&mut self, word: &Word, value: &Value) {
        let name = &word.text;
        let is_pool_key = POOL.iter().any(|key| key.name.split('.').next() == Some(name));
        let (kind, label) = match (nearest(name, SECTIONS), &value.raw) {
            (Some("pool"), _) => ("section", Some("did you mean [pool.NAME]?".to_owned())),
            (Some(near), _) => ("section", Some(format!("did you mean [{near}]?"))),
            (None, _) if is_pool_key => ("key", Some("it belongs in [pool.NAME]".to_owned())),
            (None, Raw::Table(_)) => ("section", Some(format!("a pool is [pool.{name}]"))),
            (None, _) => ("key", None),
        };
        self.problem(&word.at, format!("unknown {kind} `{name}`"), label);
    }
}

/// Returns the words that may be in the table `prefix`, each once.
fn below<'a, T>(keys: &'static [Key<T>], prefix: &'a str) -> impl Iterator<Item = &'static str> + use<'a, T> {
    let mut last = "";
    keys.iter().filter_map(move |key| {
        let rest = if prefix.is_empty() { key.name } else { key.name.strip_prefix(prefix)?.strip_prefix('.')? };
        let word = rest.split('.').next().unwrap_or(rest);
        (std::mem::replace(&mut last, word) != word).then_some(word)
    })
}

/// Checks that a pool may have this name. Metrics, logs and paths contain it.
pub(crate) fn name_is_valid(name: &str) -> Result<(), &'static str> {
    let is_clean = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    if is_clean && (1..=32).contains(&name.len()) {
        return Ok(());
    }
    Err("1 to 32 letters, digits, `-` and `_`")
}
