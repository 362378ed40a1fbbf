//! A workload as a command, and what its pool is called. Pure.

use std::ffi::OsString;

use crate::subject::{Product, Workload};

impl Workload {
    /// The name of the pool, which the workers' names begin with.
    pub(crate) fn pool(&self) -> &'static str {
        match self {
            Self::Demo => "demo",
            Self::Command(_) => "app",
        }
    }

    /// The page that says whether a worker is well, where there is one that we know.
    pub(crate) fn health(&self) -> Option<&'static str> {
        match self {
            // What `roundelay demo` asks it.
            Self::Demo => Some("/health"),
            Self::Command(_) => None,
        }
    }

    /// Its program and arguments, `{port}` as it is written.
    pub(crate) fn words(&self, product: &Product) -> Vec<OsString> {
        match self {
            Self::Demo => {
                std::iter::once(product.program.clone().into_os_string()).chain(product.demo.clone()).collect()
            }
            Self::Command(words) => words.iter().map(OsString::from).collect(),
        }
    }
}

/// An argument of a worker on that port. The program itself is taken as it is, as the product does.
pub(crate) fn filled(argument: &OsString, port: u16) -> OsString {
    match argument.to_str() {
        Some(text) => text.replace("{port}", &port.to_string()).into(),
        None => argument.clone(),
    }
}
