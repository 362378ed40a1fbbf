//! Loads all sources into one checked [`Config`], and reports every problem at once. Pure: [`Source`] reads the files.

mod defaults;
mod finish;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::codec::Wrong;
use super::layers::{self, Flag, GivenOption};
use super::problem::{Position, Problem, Problems, Severity};
use super::source::Source;
use super::value::{self, Raw, Value, nearest};
use super::walk::{Entry, Target, Walk, name_is_valid, walk};
use super::{Config, LogTarget, PoolConfig, Program};
use crate::os::account::Lookup;

/// The number of pool names that a hint lists.
const MOST_NAMES: usize = 10;
/// The number of mistakes for which the name that was probably meant is searched.
const MOST_HINTS: usize = 20;

/// All sources of a configuration.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// The file, if there is one.
    pub file: Option<Source>,
    /// The pool that the command line defines.
    pub command: Option<(String, Program)>,
    /// The environment. Only `PORT` and names with `ROUNDELAY_` are read.
    pub env: Vec<(String, String)>,
    /// The given flags, with the words after them.
    pub flags: Vec<(Flag, Vec<String>)>,
    /// Every `--set`.
    pub sets: Vec<String>,
    /// The number of CPUs that this process may use.
    pub cpus: usize,
    /// Finds the users and groups of this machine. Without it their names are taken as written, and no worker can be
    /// started as one of them.
    pub accounts: Option<Lookup>,
}

/// A configuration that breaks no rule.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// The position at which each key was set, by its path: `pool.api.listen`.
    pub origins: BTreeMap<String, Position>,
    /// Warnings: settings that were probably not intended.
    pub warnings: Problems,
}

/// Reads the sources, layers them, and checks the result.
///
/// # Errors
///
/// Every problem that was found, in the order of the file.
pub fn load(sources: &Sources) -> Result<Loaded, Problems> {
    let mut load = Load { problems: layers::misspelt(&sources.env), ..Load::default() };
    if let Some(file) = &sources.file {
        match value::parse(&file.text) {
            Ok(document) => load.file(file, &walk(&document), sources.command.is_some()),
            Err(problems) => return Err(Problems::new(Some(file.clone()), problems)),
        }
    }
    if let Some((name, program)) = &sources.command {
        load.command(name, program.clone());
    }
    load.given(layers::from_env(&sources.env));
    for setting in layers::split(layers::variable(&sources.env, "ROUNDELAY_SET").unwrap_or_default()) {
        load.tree(layers::setting(&setting, "ROUNDELAY_SET"));
    }
    load.given(layers::from_flags(&sources.flags));
    for setting in &sources.sets {
        load.tree(layers::setting(setting, "--set"));
    }
    load.finish(sources)
}

#[derive(Default)]
struct Load {
    config: Config,
    /// The index in `config.pools` of each name, until the pools are sorted. Of a name that occurs twice, the first.
    index: HashMap<String, usize>,
    origins: BTreeMap<String, Position>,
    problems: Vec<Problem>,
    /// Paths whose value was refused. Problems that only follow from their defaults are not reported.
    failed: BTreeSet<String>,
}

impl Load {
    fn file(&mut self, file: &Source, walk: &Walk, has_command: bool) {
        for (name, at) in &walk.pools {
            if has_command {
                let message = format!("{} already says what to run, and so does the command line", file.name);
                self.problems.push(Problem::error(at.clone(), message).label("drop one of the two"));
                break;
            }
            self.add(PoolConfig::new(name.clone(), Program::Command(Vec::new())));
            self.origins.insert(format!("pool.{name}"), at.clone());
        }
        self.problems.extend(walk.problems.iter().cloned());
        self.failed.extend(walk.suspects.iter().cloned());
        for entry in &walk.entries {
            self.apply(entry);
        }
        // A file means the same in any directory in which the master is started.
        if let Some(dir) = &file.dir {
            if let super::Control::Path(path) = &mut self.config.master.control {
                *path = dir.join(&path);
            }
            for pool in &mut self.config.pools {
                pool.cwd = pool.cwd.take().map(|cwd| dir.join(cwd));
                if let LogTarget::File(path) = &mut pool.log.to {
                    *path = dir.join(&path);
                }
            }
        }
        let is_mistaken = walk.problems.iter().any(|problem| problem.severity == Severity::Error);
        if walk.pools.is_empty() && !has_command && !is_mistaken {
            let is_empty = file.text.trim().is_empty();
            let message = if is_empty { "the file is empty" } else { "there is no pool in the file" };
            let label = "a pool is [pool.NAME] with a `command = [\"node\", \"app.js\"]`";
            self.problems.push(Problem::error(Position::Whole, message).label(label));
        }
    }

    fn command(&mut self, name: &str, program: Program) {
        let at = Position::Words("the command line".to_owned());
        if let Err(reason) = name_is_valid(name) {
            let problem =
                Problem::error(Position::Words(format!("--name {name}")), format!("`{name}` cannot be a pool's name"));
            self.problems.push(problem.label(reason));
        }
        self.origins.insert(format!("pool.{name}"), at.clone());
        self.origins.insert(format!("pool.{name}.command"), at);
        self.add(PoolConfig::new(name, program));
    }

    fn add(&mut self, pool: PoolConfig) {
        self.index.entry(pool.name.clone()).or_insert(self.config.pools.len());
        self.config.pools.push(pool);
    }

    /// Returns some of the pools' names, for a hint.
    fn some_names(&self) -> String {
        let more = self.config.pools.len().saturating_sub(MOST_NAMES);
        let names: Vec<&str> = self.config.pools.iter().take(MOST_NAMES).map(|pool| pool.name.as_str()).collect();
        let names = names.join(", ");
        if more > 0 { format!("{names} and {more} more") } else { names }
    }

    /// Applies flags and variables. Options of a pool are for the only pool; with several pools they are refused.
    fn given(&mut self, given: Vec<GivenOption>) {
        for GivenOption { flag, value } in given {
            let key = if flag.is_pools {
                match self.config.pools.as_slice() {
                    [] => continue,
                    [pool] => super::keys::POOL
                        .iter()
                        .find(|key| key.name == flag.key)
                        .map(|key| Target::Pool(pool.name.clone(), key)),
                    [first, ..] => {
                        let message = format!(
                            "`{}` is an option of one pool, and there are several: {}",
                            flag.key,
                            self.some_names()
                        );
                        let label = format!("write --set pool.{}.{}=…", first.name, flag.key);
                        self.problems.push(Problem::error(value.at, message).label(label));
                        continue;
                    }
                }
            } else {
                super::keys::GLOBAL.iter().find(|key| key.name == flag.key).map(Target::Global)
            };
            if let Some(key) = key {
                self.apply(&Entry { key, value });
            }
        }
    }

    /// Gives `PORT` to the pools whose public address was not written.
    fn callers_port(&mut self, env: &[(String, String)]) {
        let Some(value) = layers::callers_port(env) else { return };
        let listen = |pool: &PoolConfig| (pool.name.clone(), format!("pool.{}.listen", pool.name));
        for (name, path) in self.config.pools.iter().map(listen).collect::<Vec<_>>() {
            if self.origins.contains_key(&path) || self.failed.contains(&path) {
                continue;
            }
            match (&value, super::keys::POOL.iter().find(|key| key.name == "listen")) {
                (Ok(value), Some(key)) => {
                    self.apply(&Entry { key: Target::Pool(name, key), value: value.clone() });
                }
                (Err(problem), _) => return self.problems.push(problem.clone()),
                (Ok(_), None) => {}
            }
        }
    }

    fn tree(&mut self, walk: Walk) {
        for (name, at) in walk.pools {
            if self.index.contains_key(&name) {
                continue;
            }
            // Each search goes through all names, so only the first mistakes get one.
            let names = self.config.pools.iter().map(|pool| pool.name.as_str());
            let near = if self.problems.len() < MOST_HINTS { nearest(&name, names) } else { None };
            let label = match near {
                Some(near) => format!("did you mean `{near}`?"),
                None if self.config.pools.is_empty() => "there is no pool".to_owned(),
                None => format!("there is {}", self.some_names()),
            };
            self.problems.push(Problem::error(at, format!("there is no pool `{name}`")).label(label));
        }
        self.problems.extend(walk.problems);
        for entry in &walk.entries {
            self.apply(entry);
        }
    }

    fn apply(&mut self, entry: &Entry) {
        let (value, path) = (&entry.value, entry.key.path());
        let (name, expects, read) = match &entry.key {
            Target::Global(key) => {
                let name = key.name.split_once('.').map_or(key.name, |(_, name)| name);
                (name, key.expects, (key.read)(&mut self.config, value))
            }
            Target::Pool(pool, key) => {
                let at = self.index.get(pool).copied();
                let Some(pool) = at.and_then(|at| self.config.pools.get_mut(at)) else { return };
                (key.name, key.expects, (key.read)(pool, value))
            }
        };
        let (message, label, at) = match read {
            Ok(()) => {
                self.failed.remove(&path);
                return self.remember(path, value);
            }
            Err(Wrong::Expected) => (format!("{name} must be {expects}"), None, None),
            Err(Wrong::Nearly(label)) => (format!("{name} must be {expects}"), Some(label), None),
            Err(Wrong::Because { message, label, at }) => (message, label, at),
        };
        let at = at.unwrap_or_else(|| value.at.clone());
        self.problems.push(Problem::error(at, message).maybe_label(label));
        self.failed.insert(path);
    }

    fn remember(&mut self, path: String, value: &Value) {
        match &value.raw {
            Raw::List(items) => {
                for (i, item) in items.iter().enumerate() {
                    self.origins.insert(format!("{path}[{i}]"), item.at.clone());
                }
            }
            Raw::Table(entries) => {
                for (word, _) in entries {
                    self.origins.insert(format!("{path}.{}", word.text), word.at.clone());
                }
            }
            _ => {
                // A single address replaces a list, so the positions of the list's items are removed.
                let items = format!("{path}[");
                let of_list = self.origins.range(items.clone()..).map(|(known, _)| known);
                let gone: Vec<_> = of_list.take_while(|known| known.starts_with(&items)).cloned().collect();
                for known in gone {
                    self.origins.remove(&known);
                }
            }
        }
        self.origins.insert(path, value.at.clone());
    }

    /// Returns the position of a key, or that of the innermost key or table around it.
    fn position(&self, path: &str) -> Position {
        let mut path = path;
        loop {
            if let Some(position) = self.origins.get(path) {
                return position.clone();
            }
            match path.rfind(['.', '[']) {
                Some(end) => path = &path[..end],
                None => return Position::Default,
            }
        }
    }

    /// Returns true if the file, the command line or a `ROUNDELAY_` variable sets this key; `PORT` does not count.
    fn is_written(&self, path: &str) -> bool {
        self.origins.get(path).is_some_and(|position| *position != layers::port_position())
    }
}

#[cfg(test)]
mod tests;
