//! Promises of the checker, tested against a scripted server: it finds every planted fault, gives it the right class,
//! and finds nothing if there is no fault.

// A test that cannot go on panics, which is how it fails.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod faults; // exactly the planted faults are found
mod good; // a good server has no failures
mod lateness; // a stall delays all that was due meanwhile
mod program; // exit codes, the table, the JSON
mod server; // a server with faults set by a script

use std::net::SocketAddr;
use std::time::Duration;

use roundelay_checker::{Class, ClientKind, Length, Load, Mix, Plan, Protocol, Record};

/// Longer than any step of these tests takes, unless it hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// Makes a plan of `count` operations of one kind.
fn plan(address: SocketAddr, kind: ClientKind, count: u64) -> Plan {
    Plan {
        kinds: Mix::only(kind),
        rate: 500.0,
        length: Length::Count(count),
        timeout: PATIENCE,
        connections: 4,
        seed: 1,
        ..Plan::new(address)
    }
}

fn raw(plan: Plan) -> Plan {
    Plan { protocol: Protocol::Tcp, ..plan }
}

fn carry_out(plan: Plan) -> Record {
    Load::start(plan).unwrap().wait()
}

/// Checks that there are `count` failures of that class, no others, and that all else is good.
#[track_caller]
fn only(record: &Record, class: Class, count: u64) {
    for other in Class::ALL {
        let expected = if other == class { count } else { 0 };
        assert_eq!(record.failed(other), expected, "{other}: {:#?}", record.failures());
    }
    assert_eq!((record.started(), record.open(), record.not_started()), (record.good() + count, 0, 0));
}
