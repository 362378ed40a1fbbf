//! A message to a pool's workers. It is not an operation: it changes nothing, so it can be sent during one.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use super::Controller;
use crate::admin::commands::{CommandError, CommandErrorKind, CommandUpdate};
use crate::pool::Pool;
use crate::pool::message::Message;

impl Controller {
    /// Asks a pool's supervisor to send the message, and returns the result for each worker.
    ///
    /// # Errors
    ///
    /// It was sent to no worker: the pool has no worker of that number, none runs, or they have no channel.
    pub(super) async fn say(
        &self,
        name: &str,
        message: Message,
        reply: &mpsc::UnboundedSender<CommandUpdate>,
    ) -> Result<(), CommandError> {
        let index = self.pool_with(name, message.slots)?;
        let pool = &self.pools[index];
        let of_pool = |refused| CommandError { pool: Some(pool.name.clone()), ..refused };
        if !pool.config().passed_as().has_channel() {
            return Err(of_pool(no_channel(pool)));
        }
        let (answer, deliveries) = oneshot::channel();
        self.supervisor(index)?.say(message, answer);
        // The reply is dropped if the pool has ended.
        let deliveries = deliveries.await.map_err(|_| of_pool(CommandError::stopping()))?;
        if deliveries.is_empty() {
            let why = format!("all workers of pool {name} are stopped");
            return Err(of_pool(
                CommandError::new(CommandErrorKind::Refused, why).hint(format!("start them: roundelay start {name}")),
            ));
        }
        let _ = reply.send(CommandUpdate::Message { pool: Arc::from(name), deliveries });
        Ok(())
    }
}

fn no_channel(pool: &Pool) -> CommandError {
    let (name, mode) = (&pool.name, pool.mode.name());
    let why = format!("in mode {mode} the workers of pool {name} have no channel on which they could be told anything");
    let hint = "a worker has one in mode handoff, and in mode shared if its command is `node FILE`";
    CommandError::new(CommandErrorKind::Refused, why).hint(hint)
}
