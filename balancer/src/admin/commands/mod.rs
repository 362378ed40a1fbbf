//! The commands that a client of the control socket may give, and the updates that it gets back. The application
//! carries them out.

mod answer;
mod body;
mod client;
#[cfg(feature = "fuzzing")]
pub mod fuzz;
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

/// The number of commands that may wait for the application; further ones are refused.
pub const QUEUE: usize = 64;

/// A control command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ControlCommand {
    /// Load the configuration again and replace the workers of one pool, or of all, according to it.
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
    /// Drain and end workers of a pool; they stay stopped.
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
    /// Change the strategy by which a pool's worker is chosen, at once.
    Strategy {
        /// The pool.
        pool: String,
        /// The name of a strategy in [`crate::strategy::ALL`].
        name: &'static str,
    },
    /// Send a message to the programs in a pool's workers.
    Message {
        /// The pool.
        pool: String,
        /// The message, and the slots of the workers that get it.
        message: Message,
    },
    /// Stop everything and end the master.
    Shutdown {
        /// True if it does not wait for open connections.
        now: bool,
    },
}

impl ControlCommand {
    /// Returns the name of the command in logs.
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

    /// Returns the pool that the command concerns; `None` if it is about all of them or the master.
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

/// A command, and the channel for updates about it.
#[derive(Debug)]
pub struct CommandRequest {
    /// The command.
    pub command: ControlCommand,
    /// The client. If it closes its connection before its command begins, the command is dropped; afterwards the
    /// command goes on without it.
    pub client: CommandClient,
    /// Takes the updates, and is dropped when the command is over. The command goes on even if the receiver is gone.
    pub reply: mpsc::UnboundedSender<CommandUpdate>,
}

/// An update about a command.
#[derive(Clone, Debug, PartialEq)]
pub enum CommandUpdate {
    /// The command, or the rest of it, was not begun. If this is the first update, nothing was changed.
    Refused(CommandError),
    /// A pool's operation took a step.
    Step {
        /// The pool.
        pool: Arc<str>,
        /// The step that was taken.
        step: OperationStep,
        /// The change that the operation will make; set at the step [`OperationStep::Began`].
        plan: PlannedChange,
    },
    /// A pool's operation is over.
    Report {
        /// The pool.
        pool: Arc<str>,
        /// The report at its end.
        report: Report,
    },
    /// A message was sent to the workers of a pool that could take it; this is the last update.
    Message {
        /// The pool.
        pool: Arc<str>,
        /// One entry for each process that the message is for; at least one.
        deliveries: Vec<Delivery>,
    },
    /// The master is stopping.
    Stopping,
    /// The master has stopped everything and ends.
    Stopped(Stopped),
}

/// The change that an operation will make.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PlannedChange {
    /// For a reload: the number of workers that are replaced at once.
    pub at_once: Option<u32>,
    /// For a scaling: the number of workers before and after it.
    pub workers: Option<(u32, u32)>,
    /// For a change of strategy: the names of the old and the new one.
    pub strategy: Option<(&'static str, &'static str)>,
}

/// The end of the master, and its cost for the clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stopped {
    /// The time that the stop took.
    pub took: std::time::Duration,
    /// The number of connections that finished, and of those that were cut; `None` where they were not counted.
    pub connections: Option<(u64, u64)>,
}

/// The reason why a command was not carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandError {
    /// The kind of reason.
    pub kind: CommandErrorKind,
    /// The pool that the error is about, when the command was already done for others before it.
    pub pool: Option<String>,
    /// The reason as a sentence.
    pub why: String,
    /// Advice on what to do next.
    pub hint: Option<String>,
}

/// The kinds of reasons, for programs to tell apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommandErrorKind {
    /// There is no such pool or worker.
    NoTarget,
    /// Another operation is under way, or a running master cannot make this change.
    Refused,
    /// The configuration has mistakes.
    Config,
    /// The master is stopping.
    Stopping,
}

impl CommandError {
    /// Returns an error without a hint.
    pub fn new(kind: CommandErrorKind, why: impl Into<String>) -> Self {
        Self { kind, pool: None, why: why.into(), hint: None }
    }

    /// Adds advice on what to do next.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Returns the error for a client that has closed its connection. Only the log shows it.
    pub fn abandoned() -> Self {
        Self::new(CommandErrorKind::Refused, "its client went away before it began")
    }

    /// Returns the error for a master that is stopping.
    pub fn stopping() -> Self {
        Self::new(CommandErrorKind::Stopping, "the master is stopping")
    }

    /// Returns the error for a pool `name` that is not among `known`.
    pub fn no_pool<'a>(name: &str, known: impl Iterator<Item = &'a str> + Clone) -> Self {
        // The name is repeated only if it is a valid one, so the answer never echoes arbitrary input.
        let what = match name_is_valid(name) {
            Ok(()) => format!("no pool named `{name}`"),
            Err(_) => "there is no pool with that name".to_owned(),
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
