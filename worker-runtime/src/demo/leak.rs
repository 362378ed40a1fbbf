//! Memory that is never given back.

use std::collections::TryReserveError;
use std::sync::{Mutex, PoisonError};

/// What was leaked so far.
#[derive(Debug, Default)]
pub(super) struct Leaked(Mutex<Vec<Vec<u8>>>);

impl Leaked {
    /// Takes that many bytes more and writes to all of them: the kernel counts memory only once it is touched. Returns how
    /// many there are now, in bytes. Blocks while it writes.
    ///
    /// # Errors
    ///
    /// If the kernel does not give the memory. It usually does, and kills somebody when it is touched.
    pub(super) fn add(&self, bytes: u64) -> Result<u64, TryReserveError> {
        let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
        let mut memory = Vec::new();
        memory.try_reserve_exact(bytes)?;
        // Zeros might be had without touching anything.
        memory.resize(bytes, 1);
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.push(memory);
        Ok(all.iter().map(|memory| memory.len() as u64).sum())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_grows_and_what_cannot_be_had_is_an_error() {
        let leaked = Leaked::default();
        assert_eq!(leaked.add(1000), Ok(1000));
        assert_eq!(leaked.add(0), Ok(1000));
        assert_eq!(leaked.add(24), Ok(1024));
        assert!(leaked.add(u64::MAX).is_err());
        assert_eq!(leaked.add(0), Ok(1024));
    }
}
