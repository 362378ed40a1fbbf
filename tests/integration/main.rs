//! The promises of the binary, kept by real processes on ports of their own.
//!
//! One module a promise: its line below says which. Every test starts its own master in a folder of its own, waits for conditions with a deadline, and
//! ends what it started by pid; on a failure the master's log is printed.

// A test that cannot go on panics; that is how it fails.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[macro_use]
extern crate roundelay_test_kit;

mod kit;

// Start and readiness.
mod bad_input; // impossible settings are refused and leave no process behind
mod config_check; // `config check` refuses what the start refuses
mod crash_loop; // workers that keep ending cost the others nothing and the machine little
mod first_run; // the first commands of a new user start a pool that serves
mod readiness; // a worker gets connections when it is ready, and not before
mod start_failures; // a start that fails reports what the master saw, and does not wait
mod wrong_mode; // a program that does not fit its mode fails the start with the mode to use

// Addresses and listeners.
mod addresses; // the public address may be IPv4, IPv6, both, several, or a path
mod passed_listeners; // listeners that a parent process passes are used, as systemd's sockets
mod private_ports; // a private port that another process took gets no client
mod public_address; // one public address in every mode
mod source_ports; // one worker gets more connections than one address has ports
mod unix_endpoint; // `PORT` is a path, a new one for each process

// Modes.
mod handoff; // the master hands accepted sockets to workers
mod matrix; // every mode with every kind of worker works, or says what to use instead
mod node; // unmodified Node applications get their clients on the cluster channel
mod reuseport; // each worker accepts from its slot's own listener
mod shared; // the workers accept from one inherited listener

// Worker programs.
mod any_program; // any program can be a worker, and inherits nothing but what it should
mod background; // a program that daemonizes is named, and ends with its worker
mod examples; // the examples of `worker-runtime` serve and end in order
mod init; // as process 1 the master reaps orphans and sees its own workers' ends
mod messages; // messages reach the programs, and those of programs are bounded
mod workers; // every program of `docs/workers.md` runs as it stands there
mod wrappers; // the stop signal reaches the server behind npm, a shell or a script once

// Choice of a worker.
mod rotation; // new connections go to the workers in turn, exactly
mod several_pools; // applications in one file do not affect each other
mod strategies; // each strategy keeps its promise, and can be changed under load

// Health.
mod hang; // a hanging worker is replaced, a computing one is left alone
mod health; // a worker that fails its checks gets nothing new while another is healthy
mod overstaying; // a worker that says it ends, and does not, is replaced
mod silent_checks; // a check connects only where no better sign says the same

// Death of a worker or of the master.
mod death; // a worker's death costs the requests it had in flight, and nothing else
mod hold; // while no worker is ready clients wait, and none is rejected too early
mod lone_worker; // clients of a single worker that dies wait for its successor
mod master_death; // a killed master leaves nothing behind, and the next one starts at once
mod recovery; // clients in a dead worker's queue are answered by another

// Reload and other operations.
mod deploy; // a deploy that moves a symbolic link starts the new release
mod ledger; // the ledger of an operation adds up
mod recycling; // workers too big or too old are replaced, new first
mod reload; // a reload replaces every worker, new before old, and no client notices
mod reload_listeners; // a reload opens and closes addresses, and the others notice nothing
mod restart; // workers are restarted, stopped and started without a lost client
mod scale; // the number of workers changes under load, and no client notices

// Drain and stop.
mod drain; // a worker that leaves finishes its requests
mod inherited_signals; // signals that the parent ignored or blocked harm nobody
mod stop; // a stop finishes the requests in flight; a second stop does not wait
mod stop_signals; // the pool chooses the signal that ends its workers
mod terminal; // a master whose terminal is closed leaves nothing behind

// Limits and resources.
mod churn; // many connections leave nothing behind in the master
mod limits; // at its limits the master waits: it neither spins nor drops

// Commands and what they show.
mod control; // commands reach only their master, only from trusted users
mod list_widths; // `list` fits every terminal, and names, states and reasons stay
mod observe; // what the master reports about itself is true and changes nothing
mod one_word; // list, status, page, API and metrics say one word for one state
mod status_text; // the text about a worker is true and on its own row

// Output and log files.
mod hostile_names; // text from outside reaches log, page and terminal escaped
mod output; // workers' lines are whole and named, and block nothing
mod worker_logs; // log files of workers are whole and bounded, whatever the disk does

// Users, rights and files.
mod client_address; // programs that read the PROXY protocol see the client's address
mod privileges; // a worker has the descriptors, rights and limits it should, and no more
mod surroundings; // files that are removed around a running master come back

// Pages, container files, and these tests.
mod container; // the container files fit the binary, which serves as PID 1
mod first_moment; // no test takes a first look at a changing value for the rest
mod readme;
mod threads; // a running master has the threads that `docs/architecture.md` lists // the commands, keys and links of README.md and docs/ are true
