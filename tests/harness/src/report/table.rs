//! A table of texts: what stands beside each chart, with the very strings that the chart shows. Pure.

/// Heads and rows; the first cell of a row says whose it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Table {
    /// One for each column.
    pub(crate) heads: Vec<String>,
    /// Each as long as `heads`.
    pub(crate) rows: Vec<Vec<String>>,
}

impl Table {
    /// Without rows yet.
    pub(crate) fn new<'a>(heads: impl IntoIterator<Item = &'a str>) -> Self {
        Self { heads: heads.into_iter().map(str::to_owned).collect(), rows: Vec::new() }
    }
}
