//! A worker's answer to a health check over HTTP.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| roundelay::fuzzing::health_answer(bytes));
