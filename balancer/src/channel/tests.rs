//! A channel against a scripted worker.
