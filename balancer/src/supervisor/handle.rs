//! What the rest of the master asks of a running pool.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::actor::Supervisor;
use super::listeners::inherited::InheritedListeners;
use super::worker::Context;
use super::workers::Workers;
use super::{DataPath, Input, Resources, StopReport, WorkerEvent};
use crate::failure::{Failure, code};
use crate::net::public::Public;
use crate::pool::Pool;
use crate::pool::message::{Delivery, Message};
use crate::pool::operation::{OperationRequest, Progress};
use crate::rotation::SlotId;

/// The ways in which the application stops a pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shutdown {
    /// Empty the public listeners and close them; the workers go on. If the workers accept, only they can: then this is
    /// a `Stop`.
    Close,
    /// Drain every worker and end it.
    Stop,
    /// End every worker now.
    Kill,
}

/// Asks things of a pool's supervisor. Cheap to clone; every call returns at once, and does nothing if the pool has
/// ended.
#[derive(Clone, Debug)]
pub struct SupervisorHandle {
    pub(super) inputs: mpsc::UnboundedSender<Input>,
}

/// The end of a pool's supervisor: there is one, and its owner waits for it.
#[derive(Debug)]
pub struct SupervisorTask(JoinHandle<Result<StopReport, Failure>>);

/// The inputs of a supervisor that is not started yet.
#[derive(Debug)]
pub struct SupervisorInputs(mpsc::UnboundedReceiver<Input>);

/// Returns the handle of a supervisor, and the inbox to start it with. What is asked before the start waits.
pub fn channel() -> (SupervisorHandle, SupervisorInputs) {
    let (inputs, inbox) = mpsc::unbounded_channel();
    (SupervisorHandle { inputs }, SupervisorInputs(inbox))
}

impl SupervisorHandle {
    /// Starts the pool's task, and with it its workers, on the present runtime. `inherited` are the listeners that the
    /// workers are handed, if they accept by themselves.
    ///
    /// # Errors
    ///
    /// If there is no descriptor left to hand a listener on.
    pub fn start(
        &self,
        inbox: SupervisorInputs,
        pool: Arc<Pool>,
        resources: Arc<Resources>,
        data_path: Arc<dyn DataPath>,
        inherited: Public,
    ) -> std::io::Result<SupervisorTask> {
        let inherited = InheritedListeners::new(inherited, Instant::now())?;
        let context = Context {
            pool,
            resources,
            data_path,
            inputs: self.inputs.clone(),
            logged_owners: Default::default(),
            log_limit: Default::default(),
        };
        let supervisor = Supervisor::new(Workers::new(Arc::new(context), inherited));
        Ok(SupervisorTask(tokio::spawn(supervisor.run(inbox.0))))
    }

    /// Closes, stops or kills the pool.
    pub fn shut_down(&self, shutdown: Shutdown) {
        let _ = self.inputs.send(Input::Shutdown(shutdown));
    }

    /// Starts an operation on the pool. `reply` gets its progress, and is dropped without a last report if the pool
    /// ends.
    pub fn start_operation(&self, request: OperationRequest, reply: mpsc::UnboundedSender<Progress>) {
        let _ = self.inputs.send(Input::Operate(request, reply));
    }

    /// Sends a message to the programs in the pool's workers. `reply` gets the outcome within about a second, and is
    /// dropped if the pool has ended.
    pub fn say(&self, message: Message, reply: oneshot::Sender<Vec<Delivery>>) {
        let _ = self.inputs.send(Input::Say(message, reply));
    }

    /// Reports that a connect to that incarnation failed: the supervisor probes it at once.
    pub fn connect_failed(&self, slot: SlotId, incarnation: u64) {
        let _ = self.inputs.send(Input::Worker { slot: slot.index(), incarnation, event: WorkerEvent::ConnectFailed });
    }
}

impl SupervisorTask {
    /// Resolves when every worker has ended: by a command, or because the pool gave up. Cancel safe.
    ///
    /// # Errors
    ///
    /// The reason why the pool gave up.
    pub async fn ended(&mut self) -> Result<StopReport, Failure> {
        match (&mut self.0).await {
            Ok(result) => result,
            Err(error) => Err(Failure::new(code::FAILED, "a pool's supervisor ended").cause(error)),
        }
    }
}

/// The other end of a handle, for tests of the parts that ask a supervisor.
#[cfg(test)]
pub(crate) mod double {
    use super::*;

    /// A request that a supervisor would have received.
    pub(crate) enum Request {
        Operate(OperationRequest, mpsc::UnboundedSender<Progress>),
        Say(Message, oneshot::Sender<Vec<Delivery>>),
    }

    /// Receives the requests of a handle.
    #[derive(Debug)]
    pub(crate) struct Requests(mpsc::UnboundedReceiver<Input>);

    impl Requests {
        /// Polls for the next request; inputs of other kinds are dropped.
        pub(crate) fn poll_recv(&mut self, context: &mut std::task::Context<'_>) -> std::task::Poll<Option<Request>> {
            loop {
                match std::task::ready!(self.0.poll_recv(context)) {
                    Some(Input::Operate(request, reply)) => return Some(Request::Operate(request, reply)).into(),
                    Some(Input::Say(message, reply)) => return Some(Request::Say(message, reply)).into(),
                    Some(_) => {}
                    None => return None.into(),
                }
            }
        }
    }

    /// Returns a handle and the requests that are made by it.
    pub(crate) fn handle() -> (SupervisorHandle, Requests) {
        let (inputs, asked) = mpsc::unbounded_channel();
        (SupervisorHandle { inputs }, Requests(asked))
    }
}
