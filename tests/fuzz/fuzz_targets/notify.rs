//! A datagram that a worker sends to `NOTIFY_SOCKET`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| roundelay::fuzzing::notify(bytes));
