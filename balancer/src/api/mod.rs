//! The shapes of the control API's JSON and the writing of its values: `admin` sends them, `cli` reads them.

pub(crate) mod format;
pub mod operation;
pub mod state;
