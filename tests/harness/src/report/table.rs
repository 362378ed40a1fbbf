//! A table of texts: it stands beside each chart, with the same strings that the chart shows. Pure.

/// Heads and rows; the first cell of a row is its name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Table {
    /// The heads, one for each column.
    pub(crate) heads: Vec<String>,
    /// The rows, each as long as `heads`.
    pub(crate) rows: Vec<Vec<String>>,
}

impl Table {
    /// Returns a table without rows.
    pub(crate) fn new<'a>(heads: impl IntoIterator<Item = &'a str>) -> Self {
        Self { heads: heads.into_iter().map(str::to_owned).collect(), rows: Vec::new() }
    }
}
