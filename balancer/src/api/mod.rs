//! The shapes of the control API's JSON and how its values are written: said by `admin`, read by `cli`.

pub(crate) mod format;
pub mod operation;
pub mod state;
