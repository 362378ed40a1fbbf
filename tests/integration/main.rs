//! The promises of the binary, kept by real processes on ports of their own.
//!
//! One module a promise. Every test starts its own master in a folder of its own, waits for conditions with a deadline, and
//! ends what it started by pid; on a failure the master's log is printed.

// A test that cannot go on panics; that is how it fails.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[macro_use]
extern crate roundelay_test_kit;

mod kit;

mod addresses;
mod any_program;
mod background;
mod bad_input;
mod churn;
mod client_address;
mod config_check;
mod container;
mod control;
mod crash_loop;
mod death;
mod deploy;
mod drain;
mod examples;
mod first_moment;
mod first_run;
mod handoff;
mod hang;
mod health;
mod hold;
mod hostile_names;
mod inherited_signals;
mod init;
mod ledger;
mod limits;
mod list_widths;
mod lone_worker;
mod master_death;
mod matrix;
mod messages;
mod node;
mod observe;
mod one_word;
mod output;
mod overstaying;
mod passed_listeners;
mod private_ports;
mod privileges;
mod public_address;
mod readiness;
mod readme;
mod recovery;
mod recycling;
mod reload;
mod reload_listeners;
mod restart;
mod reuseport;
mod rotation;
mod scale;
mod several_pools;
mod shared;
mod silent_checks;
mod source_ports;
mod start_failures;
mod status_text;
mod stop;
mod stop_signals;
mod strategies;
mod surroundings;
mod terminal;
mod unix_endpoint;
mod worker_logs;
mod workers;
mod wrappers;
mod wrong_mode;
