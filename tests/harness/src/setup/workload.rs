//! A workload as a command, and the name of its pool. Pure.

use std::ffi::OsString;

use crate::subject::{Product, Workload};

impl Workload {
    /// Returns the name of the pool, with which the workers' names begin.
    pub(crate) fn pool(&self) -> &'static str {
        match self {
            Self::Demo => "demo",
            Self::Command(_) => "app",
        }
    }

    /// Returns the path that shows if a worker is healthy, if we know one.
    pub(crate) fn health(&self) -> Option<&'static str> {
        match self {
            // The path that `roundelay demo` requests.
            Self::Demo => Some("/health"),
            Self::Command(_) => None,
        }
    }

    /// Returns its program and arguments; `{port}` is left as written.
    pub(crate) fn words(&self, product: &Product) -> Vec<OsString> {
        match self {
            Self::Demo => {
                std::iter::once(product.program.clone().into_os_string()).chain(product.demo.clone()).collect()
            }
            Self::Command(words) => words.iter().map(OsString::from).collect(),
        }
    }
}

/// Returns an argument for a worker on that port. The program itself is not changed, as in the product.
pub(crate) fn filled(argument: &OsString, port: u16) -> OsString {
    match argument.to_str() {
        Some(text) => text.replace("{port}", &port.to_string()).into(),
        None => argument.clone(),
    }
}
