//! What is told of a slot: its status, and its story where a start failed.

use std::time::SystemTime;

use tokio::time::Instant;

use super::super::boot::Story;
use super::Member;
use crate::pool::{SlotState, WorkerStatus};
use crate::rotation::Endpoint;

impl Member {
    /// Notes a change of state; returns the one before.
    pub(in crate::supervisor) fn note_state(&mut self) -> SlotState {
        let is = self.slot.state();
        if is != self.state {
            self.since = SystemTime::now();
        }
        std::mem::replace(&mut self.state, is)
    }

    pub(in crate::supervisor) fn status(&self) -> WorkerStatus {
        let process = self.process.as_ref();
        let backoff =
            self.slot.next_deadline().filter(|_| matches!(self.state, SlotState::Backoff | SlotState::Failed));
        WorkerStatus {
            slot: self.id,
            state: self.state,
            since: self.since,
            generation: 1,
            others: Vec::new(),
            pid: process.and_then(|process| process.pid),
            started: process.map(|process| process.started),
            endpoint: process.map(|process| process.upstream.endpoint.clone()),
            said: process.and_then(|process| process.said.clone()),
            backoff: backoff.map(|until| until.saturating_duration_since(Instant::now())),
            restarts: self.starts.saturating_sub(1),
            last_exit: self.last_exit.as_ref().map(|(_, exit)| exit.clone()),
            last_check: self.last_check.clone(),
        }
    }

    /// For the end of a start that failed.
    pub(in crate::supervisor) fn story(&self) -> Story {
        let ready_timeout = humantime::format_duration(self.context.pool.config().ready_timeout);
        let listens_elsewhere = self.process.as_ref().and_then(|process| process.last_look.clone());
        let not_ready = || match self.process.as_ref() {
            Some(process) if process.upstream.endpoint == Endpoint::Inherited => {
                format!("pid {} did not say READY=1 within {ready_timeout}", self.pid())
            }
            Some(process) => {
                format!("pid {} was not ready on {} within {ready_timeout}", self.pid(), process.upstream.endpoint)
            }
            None => "was not started".to_owned(),
        };
        let exit = self.last_exit.as_ref().map(|(_, exit)| exit);
        let what = exit.map(|exit| exit.what.clone()).unwrap_or_else(not_ready);
        let last_lines = exit.map(|exit| exit.last_lines.clone()).unwrap_or_default();
        Story {
            worker: self.name(),
            exits: self.slot.exits(),
            cannot_start: self.last_start_failed,
            what,
            listens_elsewhere,
            last_lines,
        }
    }
}
