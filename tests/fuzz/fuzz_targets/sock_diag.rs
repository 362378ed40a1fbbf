//! The kernel's answer to a question about sockets, over netlink.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| roundelay::fuzzing::sock_diag(bytes));
