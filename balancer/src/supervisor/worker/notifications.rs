//! The messages of one process on its notify socket, as far as they are remembered.

use std::path::PathBuf;
use std::sync::Arc;

use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::notify::{NotifyMessage, NotifyReach, NotifySocket};
use crate::config;
use crate::os::child::StartError;
use crate::supervisor::{Resources, WorkerEvent};

/// The notify socket of one process, and what the process said on it.
#[derive(Debug)]
pub(super) struct Notifications {
    listening: AbortHandle,
    /// Knows if messages to the notify socket can arrive.
    reach: Arc<NotifyReach>,
    status_text: Option<String>,
    has_said_ready: bool,
    /// It has said that it ends, so it accepts no more.
    has_said_stopping: bool,
    /// It has said that it finishes its connections after the stop signal.
    drains_by_signal: bool,
}

impl Notifications {
    /// Opens a notify socket for a process of the pool, and reports what comes in. Returns the path as well.
    ///
    /// # Errors
    ///
    /// If there is no path for the socket, or it cannot be bound or given to the worker's user.
    pub(super) fn open(
        resources: &Arc<Resources>,
        config: &Arc<config::PoolConfig>,
        report: impl Fn(WorkerEvent) + Send + 'static,
    ) -> Result<(PathBuf, Self), StartError> {
        let stage = |stage: &str| {
            let stage = stage.to_owned();
            move |source| StartError { stage, source }
        };
        let path = resources.fresh_notify(config).map_err(stage("naming its notify socket"))?;
        let socket = NotifySocket::bind(&path).map_err(stage("binding its notify socket"))?;
        resources.hand_over(&path, config).map_err(stage("giving it its notify socket"))?;
        let reach = socket.reach();
        let again = {
            let (resources, config, path) = (Arc::clone(resources), Arc::clone(config), path.clone());
            move || {
                resources.ensure_folder(&path, &config)?;
                let again = NotifySocket::bind(&path)?;
                resources.hand_over(&path, &config)?;
                Ok(again)
            }
        };
        let listening = tokio::spawn(socket.listen(again, move |message| report(WorkerEvent::Notify(message))));
        Ok((path, Self::of(listening.abort_handle(), reach)))
    }

    fn of(listening: AbortHandle, reach: Arc<NotifyReach>) -> Self {
        Self {
            listening,
            reach,
            status_text: None,
            has_said_ready: false,
            has_said_stopping: false,
            drains_by_signal: false,
        }
    }

    /// Remembers a message.
    pub(super) fn take(&mut self, message: &NotifyMessage) {
        match message {
            NotifyMessage::Ready => self.has_said_ready = true,
            NotifyMessage::Beat => {}
            NotifyMessage::DrainsBySignal => self.drains_by_signal = true,
            NotifyMessage::Status(text) => self.status_text = Some(text.clone()),
            NotifyMessage::Stopping => {
                self.status_text = Some("stopping".to_owned());
                self.has_said_stopping = true;
            }
        }
    }

    /// The last status that the process told.
    pub(super) fn status_text(&self) -> Option<&str> {
        self.status_text.as_deref()
    }

    pub(super) fn has_said_ready(&self) -> bool {
        self.has_said_ready
    }

    /// Returns true if the process said that it ends.
    pub(super) fn has_said_stopping(&self) -> bool {
        self.has_said_stopping
    }

    /// Returns true if the process said that it finishes its connections after the stop signal.
    pub(super) fn drains_by_signal(&self) -> bool {
        self.drains_by_signal
    }

    /// Returns the last moment up to `now` at which a message sent after `since` may have been lost; `None` if all of
    /// them arrived.
    pub(super) fn lost_after(&self, since: Instant, now: Instant) -> Option<Instant> {
        self.reach.lost_after(since, now)
    }
}

impl Drop for Notifications {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn stopping_replaces_the_status_text() {
        let dir = tempfile::tempdir().unwrap();
        let reach = NotifySocket::bind(&dir.path().join("n")).unwrap().reach();
        let mut said = Notifications::of(tokio::spawn(std::future::pending::<()>()).abort_handle(), reach);
        said.take(&NotifyMessage::Status("warm".to_owned()));
        assert_eq!((said.status_text(), said.has_said_stopping()), (Some("warm"), false));
        said.take(&NotifyMessage::Stopping);
        assert_eq!((said.status_text(), said.has_said_stopping()), (Some("stopping"), true));
        assert!(!said.has_said_ready() && !said.drains_by_signal());
    }
}
