//! Writes a configuration as the file that would set it. Pure.

use std::collections::BTreeMap;

use super::codec::quoted;
use super::frame;
use super::keys::{GLOBAL, POOL};
use super::problem::Position;
use super::source::Source;
use super::{Config, PoolConfig, Program};
use crate::printable;

/// Parts of variable names. The value of a variable with one of them is not shown.
const SECRET: [&str; 4] = ["KEY", "TOKEN", "SECRET", "PASSWORD"];

/// The origin of each value, written behind it.
#[derive(Clone, Copy)]
pub struct Origins<'a> {
    /// The position at which each key was set.
    pub positions: &'a BTreeMap<String, Position>,
    /// The file that the positions refer to.
    pub source: Option<&'a Source>,
}

/// Returns the whole configuration as TOML. Reading it gives the same configuration, except for hidden secrets and the
/// demo pool.
pub fn show(config: &Config, origins: Option<Origins<'_>>) -> String {
    let mut text = String::new();
    let mut section = "";
    for key in GLOBAL {
        let (table, name) = key.name.split_once('.').unwrap_or(("", key.name));
        if table != section {
            let gap = if section.is_empty() { "" } else { "\n" };
            text.push_str(&format!("{gap}[{table}]\n"));
            section = table;
        }
        if let Some(value) = (key.show)(config) {
            text.push_str(&line(name, &value, key.name, origins));
        }
    }
    for pool in &config.pools {
        text.push_str(&show_pool(pool, origins));
    }
    text
}

fn show_pool(pool: &PoolConfig, origins: Option<Origins<'_>>) -> String {
    let path = format!("pool.{}", pool.name);
    let mut text = format!("\n[{path}]\n");
    if pool.program == Program::Demo {
        text.push_str("# the built-in demo worker; a pool of your own has command = [\"program\", \"argument\"]\n");
    }
    let mut section = "";
    for key in POOL {
        let (table, name) = key.name.split_once('.').unwrap_or(("", key.name));
        let Some(value) = (key.show)(pool) else { continue };
        if table != section {
            text.push_str(&format!("\n[{path}.{table}]\n"));
            section = table;
        }
        text.push_str(&line(name, &value, &format!("{path}.{}", key.name), origins));
    }
    if !pool.env.is_empty() {
        text.push_str(&format!("\n[{path}.env]\n"));
    }
    for (name, value) in &pool.env {
        let is_secret = SECRET.iter().any(|word| name.to_uppercase().contains(word));
        let value = if is_secret { quoted("***") } else { quoted(value) };
        text.push_str(&line(&quoted_key(name), &value, &format!("{path}.env.{name}"), origins));
    }
    text
}

fn quoted_key(name: &str) -> String {
    let is_bare = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
    if is_bare { name.to_owned() } else { quoted(name) }
}

fn line(name: &str, value: &str, path: &str, origins: Option<Origins<'_>>) -> String {
    let Some(origins) = origins else { return format!("{name} = {value}\n") };
    let position = match (origins.positions.get(path), origins.source) {
        (Some(Position::File(span)), Some(source)) => frame::position(source, span.start),
        (Some(Position::Words(words)), _) => words.clone(),
        _ => "default".to_owned(),
    };
    let setting = format!("{name} = {value}");
    format!("{setting:<40}  # {}\n", printable::escape(&position))
}
