//! A stall of the server delays every operation that was due meanwhile, not only those that it had received.

use std::time::Duration;

use roundelay_checker::{Allowance, ClientKind, Plan};

use crate::server::{Fault, Seen, Server};
use crate::{carry_out, plan};

const STALL: Duration = Duration::from_millis(500);

#[test]
fn stall_delays_all_operations_that_were_due_meanwhile() {
    for kind in [ClientKind::OneShot, ClientKind::KeepAlive] {
        let server = Server::http(|seen: Seen| (seen.before == 300).then_some(Fault::Stall(STALL)));
        // At 1000 a second, 500 operations were due, of which 400 waited more than 100 ms. A client that waits for its
        // answers before it goes on would have seen as many slow ones as it has connections: 4.
        let record = carry_out(Plan { rate: 1000.0, ..plan(server.address, kind, 2000) });
        assert_eq!(record.analyse(&Allowance::none()), Ok(()));
        let latency = record.latency();
        let slow = latency.over(Duration::from_millis(100));
        assert!(slow >= 300, "{kind}: only {slow} slow operations");
        // A busy machine may make more operations slow, but hardly all.
        assert!(slow < 1700, "{kind}: {slow} slow operations");
        assert!(latency.max() >= Duration::from_millis(400), "{kind}: {:?}", latency.max());
        assert!(record.longest_silence() >= Duration::from_millis(400), "{kind}: {:?}", record.longest_silence());
    }
}
