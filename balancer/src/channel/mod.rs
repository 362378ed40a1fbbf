//! A worker's control channel: what the master and a worker tell each other, and the sockets that go with it.

pub mod node;
