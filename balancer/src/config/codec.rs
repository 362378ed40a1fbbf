//! How each kind of value is read and written: one [`Codec`] a kind. Pure.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::problem::Place;
use super::value::{Raw, Value, nearest};
use super::{Address, Control, GiveUp, LogFormat, Probe, Program, Ready, Threads, Workers};
use crate::mode::Mode;
use crate::strategy;

/// Reads and writes one kind of value.
pub(super) struct Codec<T: 'static> {
    /// Completes "`key` must be …".
    pub(super) expects: &'static str,
    pub(super) read: fn(&Value) -> Result<T, Wrong>,
    /// As TOML; `None` where leaving the key out is the only way to say it.
    pub(super) show: fn(&T) -> Option<String>,
}

/// Why a value is refused.
#[derive(Debug)]
pub(super) enum Wrong {
    /// It is not what the codec expects.
    Expected,
    /// Something better can be said of it.
    Because {
        message: String,
        label: Option<String>,
        /// An element of the value rather than the whole.
        at: Option<Place>,
    },
}

/// The longest time that may be asked for: deadlines far beyond any use would overflow the clock.
const LONGEST: Duration = Duration::from_secs(366 * 24 * 3600);

/// A string as TOML.
pub(super) fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

fn because<T>(message: impl Into<String>, label: impl Into<String>) -> Result<T, Wrong> {
    Err(Wrong::Because { message: message.into(), label: Some(label.into()), at: None })
}

fn read_duration(value: &Value, zero: &[&str]) -> Result<Duration, Wrong> {
    let has_zero = !zero.is_empty();
    if let (Raw::Integer(0), true) = (&value.raw, has_zero) {
        return Ok(Duration::ZERO);
    }
    if let Raw::Integer(n @ 1..) = value.raw {
        return because("a duration needs a unit", format!("write \"{n}s\" or \"{n}ms\""));
    }
    let text = value.text().ok_or(Wrong::Expected)?.trim();
    if zero.contains(&text) {
        return Ok(Duration::ZERO);
    }
    match humantime::parse_duration(text) {
        Ok(duration) if duration > LONGEST => because(format!("`{text}` is too long"), "at most 366 days"),
        Ok(duration) if duration.is_zero() && !has_zero => Err(Wrong::Expected),
        Ok(duration) => Ok(duration),
        Err(_) => Err(Wrong::Expected),
    }
}

fn show_duration(duration: &Duration) -> Option<String> {
    Some(quoted(&humantime::format_duration(*duration).to_string()))
}

/// A time that cannot be 0.
pub(super) const DURATION: Codec<Duration> = Codec {
    expects: "a duration above 0, such as \"250ms\" or \"1m 30s\"",
    read: |value| read_duration(value, &[]),
    show: show_duration,
};

/// A time that may be 0, which then means "at once".
pub(super) const DURATION_OR_ZERO: Codec<Duration> = Codec {
    expects: "a duration, such as \"250ms\", \"1m 30s\" or \"0s\"",
    read: |value| read_duration(value, &["0"]),
    show: show_duration,
};

/// A time of which 0 means "never".
pub(super) const DURATION_OR_OFF: Codec<Duration> = Codec {
    expects: "a duration, such as \"250ms\" or \"1m 30s\", or \"off\"",
    read: |value| read_duration(value, &["0", "off"]),
    show: |duration| if duration.is_zero() { Some(quoted("off")) } else { show_duration(duration) },
};

/// How often: 1 to 1000.
pub(super) const TIMES: Codec<u32> = Codec {
    expects: "a count from 1 to 1000",
    read: |value| value.count(1..=1000).ok_or(Wrong::Expected),
    show: |n| Some(n.to_string()),
};

/// How many, where none is allowed.
pub(super) const COUNT_OR_ZERO: Codec<u32> = Codec {
    expects: "a count from 0 to 1000000",
    read: |value| value.count(0..=1_000_000).ok_or(Wrong::Expected),
    show: |n| Some(n.to_string()),
};

/// A listen backlog.
pub(super) const BACKLOG: Codec<u32> = Codec {
    expects: "a count from 1 to 65535",
    read: |value| value.count(1..=65_535).ok_or(Wrong::Expected),
    show: |n| Some(n.to_string()),
};

/// Workers started a second.
pub(super) const RATE: Codec<u32> = Codec {
    expects: "a count from 1 to 10000",
    read: |value| value.count(1..=10_000).ok_or(Wrong::Expected),
    show: |n| Some(n.to_string()),
};

fn read_limit(value: &Value, none: &str) -> Result<Option<usize>, Wrong> {
    match value.text() {
        Some(text) if text == none => Ok(None),
        _ => value.count(1..=10_000_000).map(Some).ok_or(Wrong::Expected),
    }
}

/// The master's limit on connections.
pub(super) const LIMIT_OR_AUTO: Codec<Option<usize>> = Codec {
    expects: "\"auto\" or a count from 1 to 10000000",
    read: |value| read_limit(value, "auto"),
    show: |limit| Some(limit.map_or_else(|| quoted("auto"), |n| n.to_string())),
};

/// A pool's limit on connections.
pub(super) const LIMIT_OR_OFF: Codec<Option<usize>> = Codec {
    expects: "\"off\" or a count from 1 to 10000000",
    read: |value| read_limit(value, "off"),
    show: |limit| Some(limit.map_or_else(|| quoted("off"), |n| n.to_string())),
};

/// How many workers.
pub(super) const WORKERS: Codec<Workers> = Codec {
    expects: "\"auto\", \"max\", a count from 1 to 1024, or a negative number of CPUs to leave free",
    read: |value| match (value.text(), &value.raw) {
        (Some("auto"), _) => Ok(Workers::Auto),
        (Some("max"), _) => Ok(Workers::Max),
        (_, Raw::Integer(n @ -1024..=-1)) => u32::try_from(-n).map(Workers::AllBut).map_err(|_| Wrong::Expected),
        _ => value.count(1..=1024).map(Workers::Count).ok_or(Wrong::Expected),
    },
    show: |workers| {
        Some(match workers {
            Workers::Auto => quoted("auto"),
            Workers::Max => quoted("max"),
            Workers::Count(n) => n.to_string(),
            Workers::AllBut(n) => format!("-{n}"),
        })
    },
};

/// How many data threads.
pub(super) const THREADS: Codec<Threads> = Codec {
    expects: "\"auto\" or a count from 1 to 256",
    read: |value| match value.text() {
        Some("auto") => Ok(Threads::Auto),
        _ => value.count(1..=256).map(Threads::Count).ok_or(Wrong::Expected),
    },
    show: |threads| {
        Some(match threads {
            Threads::Auto => quoted("auto"),
            Threads::Count(n) => n.to_string(),
        })
    },
};

fn read_word<T: Copy>(value: &Value, words: &[(&str, T)]) -> Result<T, Wrong> {
    let text = value.text().ok_or(Wrong::Expected)?;
    if let Some((_, meant)) = words.iter().find(|(word, _)| *word == text) {
        return Ok(*meant);
    }
    match nearest(text, words.iter().map(|(word, _)| *word)) {
        Some(word) => because(format!("unknown word `{text}`"), format!("did you mean `{word}`?")),
        None => Err(Wrong::Expected),
    }
}

fn show_word<T: PartialEq>(meant: &T, words: &[(&str, T)]) -> Option<String> {
    words.iter().find(|(_, one)| one == meant).map(|(word, _)| quoted(word))
}

const READY_WORDS: &[(&str, Ready)] = &[("probe", Ready::Probe), ("notify", Ready::Notify), ("none", Ready::None)];

/// When a worker is ready.
pub(super) const READY: Codec<Ready> = Codec {
    expects: "\"probe\", \"notify\" or \"none\"",
    read: |value| read_word(value, READY_WORDS),
    show: |ready| show_word(ready, READY_WORDS),
};

const GIVE_UP_WORDS: &[(&str, GiveUp)] = &[("never", GiveUp::Never), ("exit", GiveUp::Exit)];

/// What a failed slot does.
pub(super) const GIVE_UP: Codec<GiveUp> = Codec {
    expects: "\"never\" or \"exit\"",
    read: |value| read_word(value, GIVE_UP_WORDS),
    show: |give_up| show_word(give_up, GIVE_UP_WORDS),
};

const FORMAT_WORDS: &[(&str, LogFormat)] =
    &[("auto", LogFormat::Auto), ("pretty", LogFormat::Pretty), ("json", LogFormat::Json)];

/// How the log looks.
pub(super) const LOG_FORMAT: Codec<LogFormat> = Codec {
    expects: "\"auto\", \"pretty\" or \"json\"",
    read: |value| read_word(value, FORMAT_WORDS),
    show: |format| show_word(format, FORMAT_WORDS),
};

const LEVEL_WORDS: &[(&str, &str)] =
    &[("error", "error"), ("warn", "warn"), ("info", "info"), ("debug", "debug"), ("trace", "trace")];

/// How much is logged.
pub(super) const LOG_LEVEL: Codec<String> = Codec {
    expects: "\"error\", \"warn\", \"info\", \"debug\" or \"trace\"",
    read: |value| read_word(value, LEVEL_WORDS).map(str::to_owned),
    show: |level| Some(quoted(level)),
};

/// `a`, `b` or `c`, as names in messages.
fn listed<'a>(names: impl Iterator<Item = &'a str>) -> String {
    names.map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

/// How a connection reaches a worker.
pub(super) const MODE: Codec<Mode> = Codec {
    expects: "the name of a mode",
    read: |value| {
        let text = value.text().ok_or(Wrong::Expected)?;
        if let Some(mode) = Mode::ALL.into_iter().find(|mode| mode.name() == text) {
            return Ok(mode);
        }
        let built = || Mode::ALL.iter().filter(|mode| mode.is_built()).map(|mode| mode.name());
        let label = nearest(text, Mode::ALL.iter().map(|mode| mode.name()))
            .map_or_else(|| format!("this version has {}", listed(built())), |name| format!("did you mean `{name}`?"));
        because(format!("unknown mode `{text}`"), label)
    },
    show: |mode| Some(quoted(mode.name())),
};

/// Which worker is picked.
pub(super) const STRATEGY: Codec<String> = Codec {
    expects: "the name of a strategy",
    read: |value| {
        let text = value.text().ok_or(Wrong::Expected)?;
        if strategy::find(text).is_some() {
            return Ok(text.to_owned());
        }
        let names = || strategy::ALL.iter().map(|entry| entry.name);
        let label = nearest(text, names()).map(|name| format!("did you mean `{name}`?"));
        because(format!("unknown strategy `{text}`"), label.unwrap_or_else(|| format!("there is {}", listed(names()))))
    },
    show: |name| Some(quoted(name)),
};

/// What a health check asks.
pub(super) const PROBE: Codec<Probe> = Codec {
    expects: "\"tcp\", \"none\" or a path such as \"/health\"",
    read: |value| match value.text().ok_or(Wrong::Expected)? {
        "tcp" => Ok(Probe::Tcp),
        "none" => Ok(Probe::None),
        // The path goes into a request line as it stands.
        path if path.starts_with('/') && path.bytes().all(|b| b.is_ascii_graphic()) => {
            Ok(Probe::Http { path: path.to_owned() })
        }
        path if path.starts_with('/') => {
            because(format!("`{path}` cannot stand in a request"), "write spaces and letters beyond ASCII as %XX")
        }
        _ => Err(Wrong::Expected),
    },
    show: |probe| {
        Some(quoted(match probe {
            Probe::None => "none",
            Probe::Tcp => "tcp",
            Probe::Http { path } => path,
        }))
    },
};

fn read_address(value: &Value) -> Result<Address, Wrong> {
    let wrong = |message| Wrong::Because { message, label: None, at: Some(value.at.clone()) };
    let text = value.text().ok_or_else(|| wrong("an address must be a string".to_owned()))?;
    let address = text.parse::<Address>().map_err(|error| wrong(error.to_string()))?;
    match &address {
        // `sockaddr_un` has 108 bytes and the path must end with a NUL.
        Address::Unix(path) if path.as_os_str().len() > 107 => {
            let length = path.as_os_str().len();
            Err(wrong(format!("a unix socket's path may have 107 bytes, and this one has {length}")))
        }
        _ => Ok(address),
    }
}

/// Public addresses.
pub(super) const LISTEN: Codec<Vec<Address>> = Codec {
    expects: "an address such as \"127.0.0.1:8080\", or a list of them",
    read: |value| match &value.raw {
        Raw::List(items) if items.is_empty() => Err(Wrong::Expected),
        Raw::List(items) => items.iter().map(read_address).collect(),
        _ => value.text().ok_or(Wrong::Expected).and_then(|_| read_address(value)).map(|address| vec![address]),
    },
    show: |addresses| {
        let each: Vec<String> = addresses.iter().map(|address| quoted(&address.to_string())).collect();
        Some(if let [one] = each.as_slice() { one.clone() } else { format!("[{}]", each.join(", ")) })
    },
};

/// The admin port.
pub(super) const ADMIN_LISTEN: Codec<Option<SocketAddr>> = Codec {
    expects: "an address such as \"127.0.0.1:9900\", or \"off\"",
    read: |value| match value.text().ok_or(Wrong::Expected)? {
        "off" => Ok(None),
        _ => match read_address(value)? {
            Address::Tcp(address) => Ok(Some(address)),
            Address::Unix(_) => because("the admin port is a TCP address", "the unix door is `control` in [master]"),
        },
    },
    show: |listen| Some(quoted(&listen.map_or_else(|| "off".to_owned(), |address| address.to_string()))),
};

fn read_path(value: &Value) -> Result<PathBuf, Wrong> {
    match value.text() {
        Some(text) if !text.is_empty() && !text.contains('\0') => Ok(PathBuf::from(text)),
        _ => Err(Wrong::Expected),
    }
}

/// The control socket.
pub(super) const CONTROL: Codec<Control> = Codec {
    expects: "\"auto\", \"off\" or the path of a unix socket",
    read: |value| match value.text() {
        Some("auto") => Ok(Control::Auto),
        Some("off") => Ok(Control::Off),
        _ => read_path(value).map(Control::Path),
    },
    show: |control| {
        Some(quoted(&match control {
            Control::Auto => "auto".to_owned(),
            Control::Off => "off".to_owned(),
            Control::Path(path) => path.display().to_string(),
        }))
    },
};

/// Where workers run.
pub(super) const CWD: Codec<Option<PathBuf>> = Codec {
    expects: "the path of a directory",
    read: |value| read_path(value).map(Some),
    show: |cwd| cwd.as_ref().map(|path| quoted(&path.display().to_string())),
};

/// What workers run.
pub(super) const COMMAND: Codec<Program> = Codec {
    expects: "a list of strings: the program, then its arguments",
    read: |value| {
        if let Some(text) = value.text() {
            let words: Vec<String> = text.split_whitespace().map(quoted).collect();
            return because("`command` must be a list: no shell reads it", format!("write [{}]", words.join(", ")));
        }
        let Raw::List(items) = &value.raw else { return Err(Wrong::Expected) };
        let words: Option<Vec<&str>> = items.iter().map(Value::text).collect();
        match words {
            Some(words) if words.iter().any(|word| word.contains('\0')) => {
                because("`command` contains a NUL character", "no argument can")
            }
            Some(words) if words.first().is_some_and(|program| !program.is_empty()) => {
                Ok(Program::Command(words.into_iter().map(str::to_owned).collect()))
            }
            _ => Err(Wrong::Expected),
        }
    },
    show: |program| match program {
        Program::Demo => None,
        Program::Command(words) => {
            Some(format!("[{}]", words.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(", ")))
        }
    },
};

/// Environment of workers.
pub(super) const ENV: Codec<BTreeMap<String, String>> = Codec {
    expects: "a table of strings",
    read: |value| {
        let Raw::Table(entries) = &value.raw else { return Err(Wrong::Expected) };
        let read = |(name, value): &(super::value::Word, Value)| {
            let wrong = |message: String, label: &str, at: &Place| Wrong::Because {
                message,
                label: Some(label.to_owned()),
                at: Some(at.clone()),
            };
            let name_text = &name.text;
            if name_text.is_empty() || name_text.contains(['=', '\0']) {
                return Err(wrong(format!("`{name_text}` cannot name a variable"), "no `=` and not empty", &name.at));
            }
            match value.text() {
                Some(text) if !text.contains('\0') => Ok((name_text.clone(), text.to_owned())),
                _ => Err(wrong(format!("the variable `{name_text}` must be a string"), "put it in quotes", &value.at)),
            }
        };
        entries.iter().map(read).collect()
    },
    show: |_| None,
};
