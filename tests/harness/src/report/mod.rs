//! Presents a comparison: in the terminal, as a page with charts, as Markdown and as CSV. Pure but for `files`.
//!
//! All forms show the same numbers: there is one place for each kind of value that writes it as text, and the texts of
//! a chart equal those of the table beside it. Verdicts are not computed here but in `analysis`.
//!
//! | module | what it is |
//! |---|---|
//! | `number` | numbers as text |
//! | `table` | a table of texts |
//! | `view` | the phase that the figures stand for, and the values of each cell |
//! | `verdict`, `method` | verdicts in words; the method of measurement in sentences |
//! | `chart` | SVG |
//! | `html`, `terminal`, `markdown`, `csv` | the formats |
//! | `files` | writes all of them, and reads `report.json` |

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
pub use terminal::{changes, terminal};
