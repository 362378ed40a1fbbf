//! The kept connections of one kind to one target.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::connection::{Connection, Idle};
use crate::recorder::Recorder;

/// Connections that are used again and again, the one that rested longest first, so that all are.
#[derive(Debug)]
pub(crate) struct Pool {
    /// How many are kept.
    size: usize,
    recorder: Recorder,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    idle: VecDeque<Connection>,
    /// Idle and lent ones.
    all: usize,
}

/// The right to use one connection, open already or to be opened. What is not given back is no longer one of the pool's.
#[derive(Debug)]
pub(crate) struct Lent {
    pool: Arc<Pool>,
    pub(crate) connection: Option<Connection>,
    /// Bytes came on it while it was idle.
    pub(crate) talks: bool,
    gives_back: bool,
}

impl Pool {
    pub(crate) fn new(size: usize, recorder: Recorder) -> Arc<Self> {
        Arc::new(Self { size, recorder, state: Mutex::default() })
    }

    /// Lends a connection. As long as there are too few, and when all are busy, it has to be opened.
    pub(crate) fn lend(self: &Arc<Self>) -> Lent {
        let mut state = self.lock();
        while state.all >= self.size
            && let Some(oldest) = state.idle.pop_front()
        {
            match self.look(&oldest) {
                Idle::Closed | Idle::Reset => state.all -= 1,
                idle @ (Idle::Quiet | Idle::Talks) => {
                    let talks = idle == Idle::Talks;
                    return Lent { pool: Arc::clone(self), connection: Some(oldest), talks, gives_back: false };
                }
            }
        }
        state.all += 1;
        Lent { pool: Arc::clone(self), connection: None, talks: false, gives_back: false }
    }

    /// Closes what the peers have closed. A waiting client notices that at once, so this wants to be called often.
    pub(crate) fn sweep(&self) {
        let mut state = self.lock();
        let before = state.idle.len();
        state.idle.retain(|connection| matches!(self.look(connection), Idle::Quiet | Idle::Talks));
        let closed = before - state.idle.len();
        state.all -= closed;
    }

    /// How an idle connection looks; its end is counted.
    fn look(&self, connection: &Connection) -> Idle {
        let idle = connection.idle();
        match idle {
            Idle::Closed => self.recorder.change(|record| record.kept_mut().idle_closed += 1),
            Idle::Reset => self.recorder.change(|record| record.kept_mut().idle_reset += 1),
            Idle::Quiet | Idle::Talks => {}
        }
        idle
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lent {
    /// The connection may be used again.
    pub(crate) fn give_back(mut self) {
        self.gives_back = true;
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let mut state = self.pool.lock();
        match self.connection.take().filter(|_| self.gives_back && state.all <= self.pool.size) {
            Some(connection) => state.idle.push_back(connection),
            None => state.all -= 1,
        }
    }
}
