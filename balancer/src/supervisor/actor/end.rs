//! The end of a pool: by command, or because it gives up.

use tokio::time::Instant;

use super::Supervisor;
use crate::config::GiveUp;
use crate::failure::{Failure, code};
use crate::mode::Acceptor;
use crate::supervisor::Shutdown;
use crate::supervisor::operation::ledger::Totals;
use crate::supervisor::operation::stop_report::StopReport;
use crate::supervisor::slot::Event;

impl Supervisor {
    pub(super) fn shut_down(&mut self, shutdown: Shutdown) {
        match shutdown {
            Shutdown::Close if self.pool.mode.acceptor() == Acceptor::Master => {
                self.begin_end();
                self.hold_timer.close();
            }
            // If the workers accept, their drain closes the listeners: this does not wait for other pools.
            Shutdown::Close | Shutdown::Stop => self.stop(&Event::Stop),
            Shutdown::Kill => {
                self.workers.is_killing = true;
                self.stop(&Event::Kill);
            }
        }
    }

    fn stop(&mut self, event: &Event) {
        self.begin_end();
        self.is_stopping = true;
        self.hold_timer.close();
        self.queue_rescue.rescue_all(&self.workers);
        self.workers.inherited.close();
        self.workers.tell_all(event);
    }

    fn begin_end(&mut self) {
        self.end_begun.get_or_insert_with(|| (Instant::now(), Totals::of(&self.pool)));
    }

    pub(super) fn ended(self) -> Result<StopReport, Failure> {
        let (begun, before) = self.end_begun.unwrap_or_else(|| (Instant::now(), Totals::of(&self.pool)));
        let generation = self.workers.generation();
        let ended = StopReport { pool: self.pool, begun, before, left: self.closes_since_end, generation };
        self.gave_up.map_or(Ok(ended), Err)
    }

    /// Decides about each slot that has ended too often since the last look.
    pub(super) fn look_at_failed(&mut self) {
        if self.workers.has_been_ready() {
            self.startup.ready();
        }
        for index in self.workers.take_failed() {
            let report = self.workers[index].startup_report();
            match self.pool.config().restart.give_up {
                GiveUp::Never => tracing::error!(
                    worker = %report.worker, last = %report.what,
                    "worker failed: ended too often, next start after backoff-max"
                ),
                GiveUp::Exit => {
                    let text = format!("{} ended too often (give-up = \"exit\")", report.worker);
                    self.give_up(Failure::new(code::FAILED, text).cause(report.what));
                }
            }
        }
    }

    pub(super) fn check_startup(&mut self) {
        if self.is_stopping {
            return;
        }
        let reports = self.workers.startup_reports();
        if let Some(failure) = self.startup.failure(&self.pool.config(), &reports, Instant::now()) {
            self.give_up(failure);
        }
    }

    fn give_up(&mut self, failure: Failure) {
        self.gave_up.get_or_insert(failure);
        self.shut_down(Shutdown::Kill);
    }
}
