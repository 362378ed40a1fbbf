//! HTTPS by the application itself, and sessions that go on with another worker.

use std::process::Command;

use super::{MODES, app};
use crate::kit::{has, nodes, run_to_end, wait_for};

#[test]
fn tls_session_is_resumed_by_another_worker() {
    if !has("openssl") {
        return;
    }
    let text = "
const fs = require('fs');
const keys = { key: fs.readFileSync('key.pem'), cert: fs.readFileSync('cert.pem') };
require('https').createServer(keys, (q, r) => r.end(`${process.pid} ${q.socket.isSessionReused()}`)).listen(3000);";
    // One client after the other, each with the session of the one before.
    let client = "
const https = require('https');
const [host, port] = process.argv.slice(2);
let session;
const ask = left => {
    const agent = new https.Agent({ maxCachedSessions: 0 });
    const request = https.get({ host, port, session, agent, rejectUnauthorized: false, headers: { connection: 'close' } }, answer => {
        let said = '';
        answer.on('data', data => said += data);
        answer.on('end', () => { console.log(said); if (left > 1) ask(left - 1); });
    });
    request.on('socket', socket => socket.on('session', now => { session = now; }));
};
ask(6);";
    for node in nodes() {
        for mode in MODES {
            eprintln!("{node:?} {mode}");
            let setup = app(node, &["--mode", mode, "-i", "2"], text).file("client.js", client);
            let subject = ["-subj", "/CN=localhost", "-keyout", "key.pem", "-out", "cert.pem"];
            let made = run_to_end(
                Command::new("openssl")
                    .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"])
                    .args(subject)
                    .current_dir(setup.dir()),
            );
            assert_eq!(made.code, Some(0), "{made:?}");
            let master = setup.start_ready();
            let address = master.address();
            let ask = || {
                let mut client = Command::new(&node.program);
                let address = [address.ip().to_string(), address.port().to_string()];
                run_to_end(client.arg("client.js").args(address).current_dir(master.dir())).stdout
            };
            // A client that is moved, since a worker of a busy machine does not read in time, says nothing of sessions.
            let moved = || master.metric("roundelay_worker_retries_total", &[]);
            let asked = wait_for("a run in which nobody is moved", || {
                let before = (mode == "handoff").then(moved);
                let asked = ask();
                ((mode == "handoff").then(moved) == before).then_some(asked)
            });
            let said: Vec<_> = asked.lines().filter_map(|line| line.split_once(' ')).collect();
            assert_eq!(said.len(), 6, "{asked:?}");
            assert!(said[1..].iter().all(|(_, is_reused)| *is_reused == "true"), "{said:?}");
            if mode == "handoff" {
                assert!(said.windows(2).all(|pair| pair[0].0 != pair[1].0), "each time by the other: {said:?}");
            }
        }
    }
}
