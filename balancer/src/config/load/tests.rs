//! Tests of loading, from text to [`Config`](super::Config).

mod large;
mod layered;
mod mutated;
mod privileges;
mod reference;
mod refused;

use super::*;

/// Returns sources that are one file and nothing else.
fn file(text: &str) -> Sources {
    Sources { file: Some(Source::new("f.toml", text)), cpus: 4, ..Sources::default() }
}
