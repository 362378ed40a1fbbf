//! The output of a worker, split into lines and made safe to print. Its first byte is the size of the
//! pieces, its second how often the rest comes.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| roundelay::fuzzing::worker_output(bytes));
