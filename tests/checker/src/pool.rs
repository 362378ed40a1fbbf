//! The kept connections of one kind of client to one target.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::connection::{Connection, Idle};
use crate::recorder::Recorder;

/// Connections that are used again and again. The one that was idle for longest is used first, so that all are used.
#[derive(Debug)]
pub(crate) struct Pool {
    /// The number of connections that are kept.
    size: usize,
    recorder: Recorder,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    idle: VecDeque<Connection>,
    /// The number of idle and lent connections.
    all: usize,
}

/// The right to use one connection, which is open or has to be opened. A connection that is not given back leaves the
/// pool.
#[derive(Debug)]
pub(crate) struct Lent {
    pool: Arc<Pool>,
    pub(crate) connection: Option<Connection>,
    /// True if bytes came on the connection while it was idle.
    pub(crate) talks: bool,
    gives_back: bool,
}

impl Pool {
    pub(crate) fn new(size: usize, recorder: Recorder) -> Arc<Self> {
        Arc::new(Self { size, recorder, state: Mutex::default() })
    }

    /// Lends a connection. If there are too few, or all are busy, the caller has to open it.
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

    /// Closes connections that the peers have closed. A waiting client notices such an end at once, so call this often.
    pub(crate) fn sweep(&self) {
        let mut state = self.lock();
        let before = state.idle.len();
        state.idle.retain(|connection| matches!(self.look(connection), Idle::Quiet | Idle::Talks));
        let closed = before - state.idle.len();
        state.all -= closed;
    }

    /// Returns the state of an idle connection. If it has ended, counts the end.
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
    /// Marks the connection as usable again.
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
