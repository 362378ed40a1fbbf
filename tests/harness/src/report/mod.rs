//! What a comparison looks like: in the terminal, as a page with charts, as Markdown and as CSV. Pure but for `files`.
//!
//! All of them say the same, in the same numbers: values are written as text in one place each, and a chart's text is
//! that of the table beside it. Nothing is computed here that a verdict rests on; that is the analyse's.
//!
//! | module | what it is |
//! |---|---|
//! | `number` | numbers as text |
//! | `table` | a table of texts |
//! | `view` | which phase the figures stand for, and what each cell has |
//! | `verdict`, `method` | verdicts in words; how it was measured in sentences |
//! | `chart` | SVG |
//! | `html`, `terminal`, `markdown`, `csv` | the formats |
//! | `files` | writes them all, and reads `report.json` |

mod chart;
mod csv;
mod files;
mod html;
mod markdown;
mod method;
mod number;
#[cfg(test)]
mod planted;
mod table;
mod terminal;
mod verdict;
mod view;

pub use csv::csv;
pub use files::{load, prepare, write};
pub use html::html;
pub use markdown::markdown;
pub(crate) use terminal::plain;
pub use terminal::{changes, terminal};
