//! Accepts on the control socket, and makes the socket again when it was removed.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Notify;
use tokio::time::sleep;
use tracing::{info, warn};

use super::control_socket::ControlSocket;

/// The time between two checks that the socket is still there. A check is two calls of `lstat`.
const LOOK: Duration = Duration::from_secs(1);

/// The present listener of the control socket.
pub(super) struct ControlListener {
    socket: Arc<ControlSocket>,
    listener: RefCell<Rc<UnixListener>>,
    replaced: Notify,
}

impl ControlListener {
    /// Listens with a duplicate of the socket.
    ///
    /// # Errors
    ///
    /// There is no free descriptor, or this was not called on a runtime.
    pub(super) fn new(socket: Arc<ControlSocket>) -> io::Result<Self> {
        let listener = adopt(socket.listener().map_err(|failure| io::Error::other(failure.error))?)?;
        Ok(Self { socket, listener: RefCell::new(Rc::new(listener)), replaced: Notify::new() })
    }

    /// Accepts the next client.
    ///
    /// # Errors
    ///
    /// The error of `accept`.
    pub(super) async fn accept(&self) -> io::Result<UnixStream> {
        loop {
            let listener = Rc::clone(&self.listener.borrow());
            tokio::select! {
                accepted = listener.accept() => return accepted.map(|(stream, _)| stream),
                () = self.replaced.notified() => {}
            }
        }
    }

    /// Checks the socket each second until this future is dropped. An error is logged once and the attempt is repeated.
    pub(super) async fn keep(&self) {
        let mut complaint = None;
        loop {
            sleep(LOOK).await;
            match self.socket.restore().map_err(|failure| failure.to_string()).and_then(|new| self.replace(new)) {
                Ok(false) if complaint.is_none() => {}
                Ok(_) => {
                    complaint = None;
                    info!(path = %self.socket.path().display(), "control socket had been removed and was made again");
                }
                Err(why) => {
                    if complaint.as_ref() != Some(&why) {
                        let path = self.socket.path().display();
                        warn!(%path, why, "control socket was removed and cannot be made again yet, will retry");
                        complaint = Some(why);
                    }
                }
            }
        }
    }

    /// Returns true if there is a new listener.
    fn replace(&self, new: Option<std::os::unix::net::UnixListener>) -> Result<bool, String> {
        let Some(new) = new else { return Ok(false) };
        let new = adopt(new).map_err(|cause| cause.to_string())?;
        *self.listener.borrow_mut() = Rc::new(new);
        self.replaced.notify_one();
        Ok(true)
    }
}

fn adopt(listener: std::os::unix::net::UnixListener) -> io::Result<UnixListener> {
    listener.set_nonblocking(true)?;
    UnixListener::from_std(listener)
}
