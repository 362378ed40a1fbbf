//! The body of a command on the control socket. Its first byte chooses the command.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| roundelay::fuzzing::control_command(bytes));
