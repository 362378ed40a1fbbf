//! What a client of the control socket may command, and what it is told. The application carries it out.

mod answer;
mod body;
mod client;
mod lines;

use std::sync::Arc;

use tokio::sync::mpsc;

use crate::config::{name_is_valid, nearest};
use crate::pool::message::{Delivery, Message};
use crate::pool::operation::{OperationKind, OperationStep, Report, SlotRange};

pub(super) use answer::{Path, take};
pub use body::{LONGEST_MESSAGE, Size, slots};
pub use client::CommandClient;
pub(super) use lines::{Lines, report};

/// The number of commands that may wait for the application; more are refused.
pub const QUEUE: usize = 64;

/// A command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ControlCommand {
    /// Read the configuration again, and give one pool or all of them new workers by it.
    Reload {
        /// The pool; `None` is all of them.
        pool: Option<String>,
    },
    /// Change the number of a pool's workers.
    Scale {
        /// The pool.
        pool: String,
        /// The number of workers.
        workers: Size,
    },
    /// Drain and end workers of a pool, and start them again.
    Restart {
        /// The pool.
        pool: String,
        /// Its workers.
        slots: SlotRange,
    },
    /// Drain and end workers of a pool; they stay so.
    Stop {
        /// The pool.
        pool: String,
        /// Its workers.
        slots: SlotRange,
    },
    /// Start stopped workers of a pool.
    Start {
        /// The pool.
        pool: String,
        /// Its workers.
        slots: SlotRange,
    },
    /// Choose a pool's workers in another way, at once.
    Strategy {
        /// The pool.
        pool: String,
        /// The name of a strategy, of [`crate::strategy::ALL`].
        name: &'static str,
    },
    /// Say something to the programs in a pool's workers.
    Message {
        /// The pool.
        pool: String,
        /// The message, and its workers.
        message: Message,
    },
    /// Stop everything and end the master.
    Shutdown {
        /// Without waiting for open connections.
        now: bool,
    },
}

impl ControlCommand {
    /// The word for it in logs.
    pub fn name(&self) -> &'static str {
        match self {
            ControlCommand::Reload { .. } => OperationKind::Reload.name(),
            ControlCommand::Scale { .. } => OperationKind::Scale.name(),
            ControlCommand::Restart { .. } => OperationKind::Restart.name(),
            ControlCommand::Stop { .. } => OperationKind::Stop.name(),
            ControlCommand::Start { .. } => OperationKind::Start.name(),
            ControlCommand::Strategy { .. } => OperationKind::Strategy.name(),
            ControlCommand::Message { .. } => "message",
            ControlCommand::Shutdown { .. } => "shutdown",
        }
    }

    /// The pool it is about, if it is about one.
    pub fn pool(&self) -> Option<&str> {
        match self {
            ControlCommand::Reload { pool } => pool.as_deref(),
            ControlCommand::Scale { pool, .. }
            | ControlCommand::Restart { pool, .. }
            | ControlCommand::Stop { pool, .. }
            | ControlCommand::Start { pool, .. }
            | ControlCommand::Strategy { pool, .. }
            | ControlCommand::Message { pool, .. } => Some(pool),
            ControlCommand::Shutdown { .. } => None,
        }
    }
}

/// A command, and the channel for news of it.
#[derive(Debug)]
pub struct CommandRequest {
    /// The command.
    pub command: ControlCommand,
    /// One that has gone before its command began does not get it done later; afterwards that stops nothing.
    pub client: CommandClient,
    /// Is told how it goes, and dropped when it is over. That nobody listens any more stops nothing.
    pub reply: mpsc::UnboundedSender<CommandUpdate>,
}

/// News of a command.
#[derive(Clone, Debug, PartialEq)]
pub enum CommandUpdate {
    /// It, or what of it was still to be done, was not begun. As the first word: nothing was changed.
    Refused(CommandError),
    /// A pool's operation goes on.
    Step {
        /// The pool.
        pool: Arc<str>,
        /// The step that was taken.
        step: OperationStep,
        /// With the step [`OperationStep::Began`]: what the operation is to come to.
        plan: PlannedChange,
    },
    /// A pool's operation is over.
    Report {
        /// The pool.
        pool: Arc<str>,
        /// The report at its end.
        report: Report,
    },
    /// A message was said to workers of a pool, as far as it could be; nothing follows.
    Message {
        /// The pool.
        pool: Arc<str>,
        /// The delivery to each process that was meant; at least one.
        deliveries: Vec<Delivery>,
    },
    /// The master is stopping.
    Stopping,
    /// The master has stopped everything and ends.
    Stopped(Stopped),
}

/// The change that an operation is to make.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PlannedChange {
    /// For a reload: how many workers are replaced at once.
    pub at_once: Option<u32>,
    /// For a scaling: how many workers there were to be, and are to be.
    pub workers: Option<(u32, u32)>,
    /// For another strategy: the name of the present one, and of the one to come.
    pub strategy: Option<(&'static str, &'static str)>,
}

/// The cost of the master's stop for its clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stopped {
    /// The time that it took.
    pub took: std::time::Duration,
    /// Connections that finished and that were cut; `None` where that was not counted.
    pub connections: Option<(u64, u64)>,
}

/// Why a command was not carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandError {
    /// The kind of reason.
    pub kind: CommandErrorKind,
    /// The pool it is about, where others were done before it.
    pub pool: Option<String>,
    /// Why, in words.
    pub why: String,
    /// The next thing to do.
    pub hint: Option<String>,
}

/// Kinds of reasons, as programs tell them apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommandErrorKind {
    /// There is no such pool or worker.
    NoTarget,
    /// Another operation is under way, or it cannot be done to a running master.
    Refused,
    /// The configuration has mistakes.
    Config,
    /// The master is stopping.
    Stopping,
}

impl CommandError {
    /// A reason.
    pub fn new(kind: CommandErrorKind, why: impl Into<String>) -> Self {
        Self { kind, pool: None, why: why.into(), hint: None }
    }

    /// With what to do.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The client has closed its connection; this is for the log.
    pub fn abandoned() -> Self {
        Self::new(CommandErrorKind::Refused, "its client went away before it began")
    }

    /// The master is stopping.
    pub fn stopping() -> Self {
        Self::new(CommandErrorKind::Stopping, "the master is stopping")
    }

    /// There is no pool `name` among `known`.
    pub fn no_pool<'a>(name: &str, known: impl Iterator<Item = &'a str> + Clone) -> Self {
        // Only what could be a name is repeated.
        let what = match name_is_valid(name) {
            Ok(()) => format!("no pool named `{name}`"),
            Err(_) => "no pool of that name".to_owned(),
        };
        let pools = known.clone().collect::<Vec<_>>().join(", ");
        let hint = match nearest(name, known) {
            Some(near) => format!("did you mean `{near}`? pools: {pools}"),
            None => format!("pools: {pools}"),
        };
        Self::new(CommandErrorKind::NoTarget, what).hint(hint)
    }
}

#[cfg(test)]
mod tests;
