//! Leaks memory on request.

use std::collections::TryReserveError;
use std::sync::{Mutex, PoisonError};

/// The memory that was leaked so far.
#[derive(Debug, Default)]
pub(super) struct Leaked(Mutex<Vec<Vec<u8>>>);

impl Leaked {
    /// Takes that many bytes more and writes to all of them, since the kernel counts memory only once it is written to.
    /// Returns the number of bytes leaked so far. Blocks while it writes.
    ///
    /// # Errors
    ///
    /// Fails if the kernel does not give the memory. Usually it gives the memory, and kills a process when memory is
    /// written to.
    pub(super) fn add(&self, bytes: u64) -> Result<u64, TryReserveError> {
        let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
        let mut memory = Vec::new();
        memory.try_reserve_exact(bytes)?;
        // Memory filled with zeros could come without being written to.
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
    fn leak_grows_and_a_failed_allocation_is_an_error() {
        let leaked = Leaked::default();
        assert_eq!(leaked.add(1000), Ok(1000));
        assert_eq!(leaked.add(0), Ok(1000));
        assert_eq!(leaked.add(24), Ok(1024));
        assert!(leaked.add(u64::MAX).is_err());
        assert_eq!(leaked.add(0), Ok(1024));
    }
}
