//! The one record of a load, to which all operations write.

use std::sync::{Arc, Mutex, PoisonError};

use crate::record::Record;

/// A handle to the record. It holds the lock only for moments.
#[derive(Clone, Debug)]
pub(crate) struct Recorder(Arc<Mutex<Record>>);

impl Recorder {
    pub(crate) fn new(record: Record) -> Self {
        Self(Arc::new(Mutex::new(record)))
    }

    pub(crate) fn change<T>(&self, change: impl FnOnce(&mut Record) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
