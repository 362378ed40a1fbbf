//! Files of `/proc`, and `/etc/passwd`, `/etc/group`, `/etc/services`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| roundelay::fuzzing::system_files(bytes));
