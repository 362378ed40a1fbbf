//! The channel of Node's cluster: an unmodified `node app.js` gets its connections from us through it. Pure.
//!
//! Node can run an app in several processes. The process that forks the others (the *primary*) owns the ports; in a
//! worker, `listen(3000)` opens no port but asks the primary. We play the primary. The protocol runs over a unix stream
//! socket, which is the worker's descriptor 3: each message is a line of JSON, and a socket travels with the first byte
//! of its line. Node does not document the protocol, but it has been the same from Node 14 to 26; we test with workers
//! of 18 and later.
//!
//! The messages in the usual order (`>` comes from the worker, `<` from us):
//!
//! ```text
//! > online                  Node runs; nothing is known about the app yet
//! > queryServer             the app calls listen() with an address, and waits for our answer without a timeout
//! < an answer               a key and no socket: connections will come one by one. With a listening socket: accept
//!                           yourself. With a negative errno: the app's server fails by that name
//! > listening               that server is up: the worker is ready
//! < newconn + a socket      a client for the server of this key; we call it a handed connection
//! > NODE_HANDLE_ACK         the socket has arrived (..._NACK: the line has, its socket has not)
//! > accepted: true          the app has taken it. false: that server is closed or full, give it to another worker
//! > close                   the app closed the server of this key
//! < disconnect              we tell the worker to stop: finish, close the channel, exit
//! > exitedAfterDisconnect   the app itself wants to stop; it waits until we have answered
//! ```
//!
//! Every `NODE_CLUSTER` line carries a number of its sender as `seq`; a reply repeats the number of its query as `ack`.
//! A line whose `cmd` begins with `NODE_` is Node's own; any other line belongs to the app, from `process.send` or for
//! `process.on('message')`.
//!
//! Three rules must be kept, or things fail in ways that are hard to find:
//!
//! 1. **One socket in flight.** Until a socket is acknowledged nothing else may be written, or the worker silently
//!    loses a socket. Only our own acknowledgements are exempt: else two sides that each wait for the other's would wait
//!    forever.
//! 2. **A connection is ours until `accepted`.** The worker sends it before it reads the client's first byte. So once a
//!    dead worker's channel is read to its end, every connection that it did not accept is untouched and can go to
//!    another worker.
//! 3. **Some answers end the worker:** the same key twice, an errno that is not negative, a missing `data` for a TLS
//!    server, a second `disconnect`. [`Session`] does not let a caller send them.
//!
//! [`wire`] splits the stream into messages, [`Session`] is the state of one worker, and [`ListenerRegistry`] decides
//! for a whole pool which listener a query gets. The caller owns the sockets: here a socket is a number that the caller
//! chose.

pub mod broken;
mod encode;
pub mod event;
pub mod listeners;
mod outbox;
mod pending;
pub mod query;
pub mod session;
pub mod wire;

pub use broken::Broken;
pub use event::{NodeEvent, SendError, Why};
pub use listeners::ListenerRegistry;
pub use outbox::{Attached, MOST_WAITING, Out};
pub use query::{AddressType, Answer, Query};
pub use session::Session;
