//! The read buffer that the connections of a thread share.

use std::cell::RefCell;

/// The size of the one read buffer of a thread. 64 KiB is slower: it falls out of the L1 and L2 caches.
const SCRATCH: usize = 32 * 1024;

thread_local! {
    static BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; SCRATCH].into_boxed_slice());
}

/// Lends this thread's read buffer. Before a read it holds another connection's bytes: use only what was read.
pub(crate) fn with_scratch<T>(read: impl FnOnce(&mut [u8]) -> T) -> T {
    BUFFER.with_borrow_mut(|buffer| read(buffer))
}
