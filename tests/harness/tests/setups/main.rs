//! Real setups: each answers, names its workers, obeys commands, and leaves no process behind.

// A test that cannot go on panics: this is how it fails.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod setups; // a setup, requests to it, its processes

mod node; // Node's own cluster, and pm2
mod others; // no balancer, HAProxy, nginx
mod product; // the product's ways
