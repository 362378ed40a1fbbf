//! What a Rust worker behind Roundelay needs, and the demo worker.
