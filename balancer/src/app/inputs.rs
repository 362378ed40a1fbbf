//! The events that a running master waits for: commands, signals, a pool that gave up.

use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::time::Instant;

use super::Running;
use super::controller::Controller;
use super::signals::{Asked, Signals};
use crate::admin::commands::{CommandError, CommandRequest, CommandUpdate, ControlCommand, Stopped};
use crate::failure::Failure;

/// The commands of clients, and the controller that carries them out.
pub(super) struct Inputs {
    pub(super) commands: mpsc::Receiver<CommandRequest>,
    pub(super) controller: Arc<Controller>,
}

/// The clients that asked for the end of the master, and wait for it.
#[derive(Debug)]
pub(super) struct ShutdownClients {
    since: Instant,
    replies: Vec<mpsc::UnboundedSender<CommandUpdate>>,
}

/// The reason why a master stops.
pub(super) enum StopCause {
    /// A signal, by its number.
    Signal(i32),
    /// A command on the control socket; with `now` it does not wait for open connections.
    Command { now: bool },
    /// A pool ended by itself, which it only does when it gives up.
    GaveUp(usize, Result<(), Failure>),
}

impl Inputs {
    /// Carries out commands until the master has to stop.
    pub(super) async fn until_end(
        &mut self,
        running: &mut [Running],
        signals: &mut Signals,
    ) -> (StopCause, ShutdownClients) {
        let mut waiting = ShutdownClients { since: Instant::now(), replies: Vec::new() };
        loop {
            let request = tokio::select! {
                asked = signals.next() => match asked {
                    Asked::Stop(signal) => return (StopCause::Signal(signal), waiting),
                    Asked::Reload => {
                        self.controller.reload_by_signal();
                        continue;
                    }
                },
                (index, result) = super::stop::first_ended(running) => return (StopCause::GaveUp(index, result), waiting),
                Some(request) = self.commands.recv() => request,
            };
            // The request may have waited here for long, for example while the master was suspended.
            if request.client.is_gone() {
                let verb = request.command.name();
                tracing::warn!(verb, "control command dropped, its client went away before it began");
                continue;
            }
            if let ControlCommand::Shutdown { now } = request.command {
                signals.note_stop();
                waiting.since = Instant::now();
                waiting.join(request.reply);
                return (StopCause::Command { now }, waiting);
            }
            self.controller.take(request);
        }
    }

    /// Refuses commands while the master stops. Resolves when a command asks to stop at once.
    pub(super) async fn until_forced(&mut self, waiting: &mut ShutdownClients) {
        while let Some(CommandRequest { command, reply, .. }) = self.commands.recv().await {
            match command {
                ControlCommand::Shutdown { now } => {
                    waiting.join(reply);
                    if now {
                        return;
                    }
                }
                _ => drop(reply.send(CommandUpdate::Refused(CommandError::stopping()))),
            }
        }
        std::future::pending().await
    }
}

impl ShutdownClients {
    fn join(&mut self, reply: mpsc::UnboundedSender<CommandUpdate>) {
        let _ = reply.send(CommandUpdate::Stopping);
        self.replies.push(reply);
    }

    /// Tells all of them that the master has stopped.
    pub(super) fn tell(self, connections: Option<(u64, u64)>) {
        let stopped = Stopped { took: self.since.elapsed(), connections };
        for reply in self.replies {
            let _ = reply.send(CommandUpdate::Stopped(stopped));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::commands::CommandClient;

    fn inputs() -> (Inputs, mpsc::Sender<CommandRequest>) {
        let (commands_sender, commands) = mpsc::channel(8);
        (Inputs { commands, controller: Controller::idle() }, commands_sender)
    }

    #[tokio::test]
    async fn stopping_master_refuses_commands_and_answers_every_shutdown() {
        let (mut inputs, commands) = inputs();
        let send = |command| {
            let (reply, news) = mpsc::unbounded_channel();
            commands.try_send(CommandRequest { command, client: CommandClient::default(), reply }).unwrap();
            news
        };
        let mut reload = send(ControlCommand::Reload { pool: None });
        let mut patient = send(ControlCommand::Shutdown { now: false });
        let mut hasty = send(ControlCommand::Shutdown { now: true });
        let mut waiting = ShutdownClients { since: Instant::now(), replies: Vec::new() };
        inputs.until_forced(&mut waiting).await;
        assert_eq!(reload.recv().await, Some(CommandUpdate::Refused(CommandError::stopping())));
        waiting.tell(Some((3, 1)));
        for news in [&mut patient, &mut hasty] {
            assert_eq!(news.recv().await, Some(CommandUpdate::Stopping));
            let Some(CommandUpdate::Stopped(stopped)) = news.recv().await else { panic!("not told") };
            assert_eq!(stopped.connections, Some((3, 1)));
            assert_eq!(news.recv().await, None);
        }
    }
}
