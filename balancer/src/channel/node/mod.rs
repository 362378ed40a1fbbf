//! Node's cluster channel: how an unmodified `node app.js` gets its connections from us. Pure.
//!
//! Node can split an app over processes. The process that forks the others (the *primary*) owns the ports; in a worker,
//! `listen(3000)` opens nothing but asks the primary. To the worker we are that primary. The protocol goes over a unix
//! stream socket, the worker's descriptor 3: each message is a line of JSON, and a socket travels beside the first byte
//! of its line. Node does not document it, but it is the same from 14 to 26; workers of 18 and later are what we test
//! with.
//!
//! In order of life (`>` is said by the worker):
//!
//! ```text
//! > online                  Node runs; of the app nothing is known yet
//! > queryServer             the app listens: on which address? It waits for our answer for ever
//! < an answer               a key and no socket: connections will come one by one. With a listening socket: accept
//!                           yourself. With a negative errno: the app's server fails by that name
//! > listening               that server is up: the worker is ready
//! < newconn + a socket      a client for the server of this key; we call it a handed connection
//! > NODE_HANDLE_ACK         the socket has arrived (..._NACK: the line has, its socket has not)
//! > accepted: true          and is the app's now. false: that server is closed or full, offer it to somebody else
//! > close                   the app closed the server of this key
//! < disconnect              our command to stop: finish, close the channel, exit
//! > exitedAfterDisconnect   the app's own wish to stop; it hangs until we have answered
//! ```
//!
//! Every `NODE_CLUSTER` line carries its sender's `seq`, and a reply the other's number as `ack`. A line whose `cmd`
//! begins with `NODE_` is Node's; anything else is the app's own, from `process.send` or for `process.on('message')`.
//!
//! Three rules cause failures when forgotten:
//!
//! 1. **One socket on its way.** Until it is acknowledged nothing else may be written, or the worker loses one in
//!    silence. Only our own acknowledgements go first, or two that wait for each other would wait for ever.
//! 2. **A connection is ours until `accepted`.** The worker says it before it reads the client's first byte. So what a
//!    dead worker has not accepted, read to the channel's end, can go to another one as if nothing had been.
//! 3. **Some answers kill.** A key twice, an errno that is not negative, no `data` for a TLS server, `disconnect` a
//!    second time: each of them ends the worker. They cannot be said through [`Session`].
//!
//! [`wire`] splits the stream, [`Session`] is one worker's state, [`ListenerRegistry`] knows for a whole pool which
//! public listener a query means. Sockets and their owners are left to the caller: here a socket is a number that the
//! caller chose.

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
pub use pending::MAX_PENDING;
pub use query::{AddressType, Answer, Query};
pub use session::Session;
