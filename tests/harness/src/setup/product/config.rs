//! The configuration file of a setup's master. Pure.

use std::collections::BTreeMap;
use std::ffi::OsString;

use toml::{Table, Value};

use crate::setup::{Setup, SetupError};
use crate::subject::ProductWay;

/// The longest time until a worker is ready: the same that a setup gives workers which it starts itself. It is shorter
/// than the product's default of 30 s, since often only this timeout shows that a program does not fit a mode.
const READY_TIMEOUT: &str = "15s";

/// Returns a file with one pool that runs this command. Everything else is set by flags, which take precedence.
///
/// # Errors
///
/// [`SetupError::Unable`]: a word of the command is not text.
pub(super) fn file(setup: &Setup, way: &ProductWay, words: &[OsString]) -> Result<String, SetupError> {
    let text = |word: &OsString| {
        let no_text =
            || SetupError::Unable(format!("the command's {word:?} is no UTF-8, which a configuration file must be"));
        word.to_str().map(Value::from).ok_or_else(no_text)
    };
    let mut pool = Table::new();
    pool.insert("command".into(), Value::Array(words.iter().map(text).collect::<Result<_, _>>()?));
    pool.insert("ready-timeout".into(), READY_TIMEOUT.into());
    if let ("proxy", Some(page)) = (mode(&way.flags), setup.workload.health()) {
        // As in `roundelay demo`: only a check that waits for an answer shows a hang.
        pool.insert("health".into(), Value::Table(Table::from_iter([("probe".to_owned(), page.into())])));
    }
    pool.insert("env".into(), Value::Table(env(&setup.worker_env)));
    let pools = Table::from_iter([(setup.workload.pool().to_owned(), Value::Table(pool))]);
    Ok(Table::from_iter([("pool".to_owned(), Value::Table(pools))]).to_string())
}

fn env(variables: &BTreeMap<String, String>) -> Table {
    variables.iter().map(|(name, value)| (name.clone(), Value::from(value.as_str()))).collect()
}

/// Returns the mode that these flags choose; the last one counts.
pub(crate) fn mode(flags: &[String]) -> &str {
    let named = |(at, flag): (usize, &String)| match flag.as_str() {
        "--mode" | "-m" => flags.get(at + 1).map(String::as_str),
        _ => flags[at].strip_prefix("--mode="),
    };
    flags.iter().enumerate().filter_map(named).next_back().unwrap_or("proxy")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::setup::Way;
    use crate::subject::Workload;

    fn way(flags: &[&str]) -> ProductWay {
        let flags = flags.iter().map(|&flag| flag.to_owned()).collect();
        ProductWay { name: "way".into(), about: String::new(), flags, has_fixed_workers: false }
    }

    fn setup(way: &ProductWay, workload: Workload) -> Setup {
        let worker_env = [("A B".to_owned(), "\"1\"\n".to_owned())].into();
        Setup { way: Way::Product(way.clone()), workload, workers: 2, worker_env, options: Vec::new() }
    }

    #[test]
    fn file_says_what_the_worker_is_whatever_its_words_are() {
        let way = way(&[]);
        let words = ["sh", "-c", "echo \"'''\" \\ ü {port}"].map(str::to_owned);
        let setup = setup(&way, Workload::Command(words.to_vec()));
        let file = file(&setup, &way, &words.clone().map(OsString::from)).unwrap();
        let read: Table = file.parse().unwrap();
        let pool = &read["pool"]["app"];
        assert_eq!(pool["command"], Value::from(words.to_vec()));
        assert_eq!(pool["env"]["A B"].as_str(), Some("\"1\"\n"));
        assert!(pool.get("health").is_none(), "{file}");
    }

    #[test]
    fn demos_health_is_asked_where_it_has_a_port_to_ask() {
        for (flags, is_asked) in [(vec![], true), (vec!["--mode", "handoff"], false), (vec!["--mode=proxy"], true)] {
            let way = way(&flags);
            let file = file(&setup(&way, Workload::Demo), &way, &["x".into()]).unwrap();
            assert_eq!(file.contains("[pool.demo.health]"), is_asked, "{flags:?}: {file}");
        }
    }

    #[test]
    fn last_mode_counts() {
        assert_eq!(mode(&way(&["-s", "p2c"]).flags), "proxy");
        assert_eq!(mode(&way(&["--mode", "shared", "-m", "handoff"]).flags), "handoff");
        assert_eq!(mode(&way(&["-m", "shared", "--mode=reuseport", "--mode"]).flags), "reuseport");
    }
}
