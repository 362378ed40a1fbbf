//! Reads options from environment and flags, as keys of the same table. Pure.
//!
//! The sources, weakest first: defaults, the file, variables, `ROUNDELAY_SET`, flags, `--set`.

use super::problem::{Position, Problem};
use super::value::{Raw, Value, Word, nearest};
use super::walk::{self, Walk};

/// A flag of `run` that is short for a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flag {
    /// The flag without its dashes. The variable is `ROUNDELAY_` and this in capitals.
    pub name: &'static str,
    /// The key. An option of a pool has its key below that pool.
    pub key: &'static str,
    /// True if it is an option of a pool.
    pub is_pools: bool,
}

const fn pools(name: &'static str, key: &'static str) -> Flag {
    Flag { name, key, is_pools: true }
}

const fn masters(name: &'static str, key: &'static str) -> Flag {
    Flag { name, key, is_pools: false }
}

/// Every flag that is short for a key.
pub const FLAGS: [Flag; 13] = [
    pools("listen", "listen"),
    pools("workers", "workers"),
    pools("strategy", "strategy"),
    pools("mode", "mode"),
    pools("endpoint", "endpoint"),
    pools("health", "health.probe"),
    pools("ready", "ready"),
    pools("proxy-protocol", "proxy-protocol"),
    masters("admin", "admin.listen"),
    masters("control", "master.control"),
    masters("threads", "master.threads"),
    masters("log-level", "log.level"),
    masters("log-format", "log.format"),
];

/// Variables that are read besides those of [`FLAGS`].
const OTHER: [&str; 3] = ["ROUNDELAY_CONFIG", "ROUNDELAY_NAME", "ROUNDELAY_SET"];

/// Variables that a master sets for its workers. No option reads them, with the one exception that [`variable`]
/// explains.
const WORKER_VARIABLES: [&str; 4] = ["ROUNDELAY_POOL", "ROUNDELAY_WORKER", "ROUNDELAY_WORKERS", "ROUNDELAY_GENERATION"];

impl Flag {
    /// Returns the variable that stands for the flag.
    pub fn variable(self) -> String {
        format!("ROUNDELAY_{}", self.name.to_uppercase().replace('-', "_"))
    }
}

/// Returns the value of one of Roundelay's variables in `env`. An empty one counts as not set.
///
/// A master also sets `ROUNDELAY_WORKERS` for its workers. So the variable is read only where `ROUNDELAY_POOL` is not
/// set: a Roundelay that runs as a worker of another does not use the other's count as its own.
pub fn variable<'a>(env: &'a [(String, String)], name: &str) -> Option<&'a str> {
    let find = |name: &str| env.iter().find(|(one, _)| one == name).map(|(_, value)| value.as_str());
    if name == "ROUNDELAY_WORKERS" && find("ROUNDELAY_POOL").is_some() {
        return None;
    }
    find(name).filter(|value| !value.is_empty())
}

/// Returns `PORT` as a position.
pub(super) fn port_position() -> Position {
    Position::Words("PORT".to_owned())
}

/// Returns the public address that the caller's `PORT` stands for: a port on 127.0.0.1, or the path of a unix socket.
/// (An outer master that gives its workers unix sockets sets such a path.) `None` if `PORT` is not set.
pub(super) fn callers_port(env: &[(String, String)]) -> Option<Result<Value, Problem>> {
    let text = variable(env, "PORT")?;
    let address = match text.parse::<u16>() {
        Ok(port) => format!("127.0.0.1:{port}"),
        Err(_) if text.starts_with('/') => format!("unix:{text}"),
        Err(_) => {
            let problem = Problem::error(port_position(), format!("`{text}` is neither a port nor an absolute path"));
            return Some(Err(problem.label("unset PORT, or say where to listen: --listen 127.0.0.1:8080")));
        }
    };
    Some(Ok(Value::of_word(&address, port_position())))
}

/// Returns a warning for every variable whose name is close to one of Roundelay's.
pub(super) fn misspelt(env: &[(String, String)]) -> Vec<Problem> {
    let known: Vec<String> =
        FLAGS.map(Flag::variable).into_iter().chain(OTHER.iter().map(|&name| name.to_owned())).collect();
    let warn = |(name, _): &(String, String)| {
        let rest = name
            .strip_prefix("ROUNDELAY_")
            .filter(|_| !known.contains(name) && !WORKER_VARIABLES.contains(&name.as_str()))?;
        let meant = nearest(rest, known.iter().filter_map(|name| name.strip_prefix("ROUNDELAY_")))?;
        let problem = Problem::warning(Position::Words(name.clone()), "this variable is not read");
        Some(problem.label(format!("did you mean `ROUNDELAY_{meant}`?")))
    };
    env.iter().filter_map(warn).collect()
}

/// One option that was given by a flag or a variable.
pub(super) struct GivenOption {
    pub(super) flag: Flag,
    pub(super) value: Value,
}

/// Returns the options of the variables, without `ROUNDELAY_SET`.
pub(super) fn from_env(env: &[(String, String)]) -> Vec<GivenOption> {
    let said = |flag: Flag| {
        let name = flag.variable();
        let text = variable(env, &name)?;
        let at = Position::Words(name);
        let words: Vec<&str> = if flag.key == "listen" { text.split(',').map(str::trim).collect() } else { vec![text] };
        Some(GivenOption { flag, value: one_or_list(&words, &at) })
    };
    FLAGS.into_iter().filter_map(said).collect()
}

/// Returns the options of the flags. A repeated flag becomes a list.
pub(super) fn from_flags(flags: &[(Flag, Vec<String>)]) -> Vec<GivenOption> {
    let said = |(flag, words): &(Flag, Vec<String>)| {
        let at = Position::Words(format!("--{} {}", flag.name, words.join(&format!(" --{} ", flag.name))));
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        (!words.is_empty()).then(|| GivenOption { flag: *flag, value: one_or_list(&words, &at) })
    };
    flags.iter().filter_map(said).collect()
}

fn one_or_list(words: &[&str], at: &Position) -> Value {
    match words {
        [word] => Value::of_word(word, at.clone()),
        _ => {
            let each = words.iter().map(|word| Value::of_word(word, at.clone()));
            Value::new(Raw::List(each.collect()), at.clone())
        }
    }
}

/// Splits the settings of `ROUNDELAY_SET` at each `;` that is not inside quotes.
pub(super) fn split(settings: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut quote = None;
    for c in settings.chars() {
        match (c, quote) {
            (';', None) => parts.push(String::new()),
            (_, Some(open)) if c == open => quote = None,
            ('"' | '\'', None) => quote = Some(c),
            _ => {}
        }
        if let (Some(last), true) = (parts.last_mut(), c != ';' || quote.is_some()) {
            last.push(c);
        }
    }
    parts.into_iter().map(|part| part.trim().to_owned()).filter(|part| !part.is_empty()).collect()
}

/// Reads one `KEY=VALUE`. `origin` names its source in errors, such as `--set`.
pub(super) fn setting(text: &str, origin: &str) -> Walk {
    let at = Position::Words(format!("{origin} {text}"));
    let refused = |message: String| {
        let label = "write it as pool.NAME.workers=4 or log.level=debug";
        Walk { problems: vec![Problem::error(at.clone(), message).label(label)], ..Walk::default() }
    };
    let Some((key, value)) = text.split_once('=') else {
        return refused(format!("`{text}` has no `=`"));
    };
    let words: Vec<&str> = key.trim().split('.').map(str::trim).collect();
    if words.iter().any(|word| word.is_empty()) || words.len() < 2 {
        return refused(format!("`{}` is no key", key.trim()));
    }
    let leaf = Value::of_setting(value, at.clone());
    let wrap = |inner: Value, word: &&str| {
        let word = Word { text: (*word).to_owned(), at: at.clone() };
        Value::new(Raw::Table(vec![(word, inner)]), at.clone())
    };
    walk::walk(&words.iter().rev().fold(leaf, wrap))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn worker_count_of_an_outer_master_is_not_read() {
        let outer = env(&[("ROUNDELAY_POOL", "api"), ("ROUNDELAY_WORKERS", "8")]);
        assert_eq!(variable(&outer, "ROUNDELAY_WORKERS"), None);
        assert_eq!(variable(&outer[1..], "ROUNDELAY_WORKERS"), Some("8"));
        assert_eq!(variable(&env(&[("ROUNDELAY_LISTEN", "")]), "ROUNDELAY_LISTEN"), None);
    }

    #[test]
    fn misspelt_variable_gets_a_warning_and_a_foreign_one_none() {
        let env = env(&[("ROUNDELAY_LISTN", ":80"), ("ROUNDELAY_GENERATION", "1"), ("ROUNDELAY_SITE_OWNER", "me")]);
        let said: Vec<_> = misspelt(&env).into_iter().map(|problem| (problem.position, problem.label)).collect();
        let expected = (Position::Words("ROUNDELAY_LISTN".into()), Some("did you mean `ROUNDELAY_LISTEN`?".into()));
        assert_eq!(said, [expected]);
    }

    #[test]
    fn settings_are_split_at_semicolons_outside_of_quotes() {
        let settings = r#"a.b=1; c.d="x;y" ;;e.f=['p;q']"#;
        assert_eq!(split(settings), ["a.b=1", r#"c.d="x;y""#, "e.f=['p;q']"]);
        assert!(split("").is_empty());
    }
}
