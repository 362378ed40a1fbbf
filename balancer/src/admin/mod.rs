//! Health, metrics and state over HTTP, on two doors: the control socket and the admin port.

pub mod door;
pub mod view;
