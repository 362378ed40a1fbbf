//! Sends a message to the programs in a pool's workers. This is no operation: it does not wait for other operations,
//! and they do not wait for it.

use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use crate::channel::{ChannelCommand, Unsent};
use crate::pool::SlotState;
use crate::pool::message::{Delivery, Message};
use crate::pool::operation::SlotRange;
use crate::supervisor::slot::process::ProcessState;
use crate::supervisor::worker::WorkerSlot;
use crate::supervisor::workers::Workers;

/// The time that a channel has to answer. The channel only puts the message into its queue, so a blocked worker does
/// not delay the answer.
const PATIENCE: Duration = Duration::from_secs(1);

/// One process to which a message goes: the reason why it gets none, or the receiver of the channel's answer.
struct MessageTarget {
    slot: u32,
    pid: Option<u32>,
    answer: Result<oneshot::Receiver<Result<(), Unsent>>, &'static str>,
}

/// Sends the message to the present process of each chosen slot, and sends the outcomes to `reply`.
pub(in crate::supervisor) fn send(workers: &Workers, message: &Message, reply: oneshot::Sender<Vec<Delivery>>) {
    let meant = (0..workers.desired()).zip(workers.iter());
    let meant = meant.filter(|(slot, worker)| match message.slots {
        // A slot that was stopped by command is skipped, unless the command names its number.
        SlotRange::All => worker.slot.state() != SlotState::Stopped,
        which => which.includes(*slot),
    });
    let targets: Vec<_> = meant.flat_map(|(slot, worker)| targets(slot, worker, &message.json)).collect();
    tokio::spawn(async move {
        let _ = reply.send(gather(targets).await);
    });
}

/// Returns the target for a slot's present process, or one that says there is none. If a replacement is starting,
/// returns a target for it too, so that the reply shows that it got no message.
fn targets(slot: u32, worker: &WorkerSlot, json: &str) -> Vec<MessageTarget> {
    let to = |process_state: &ProcessState| {
        let answer = untold(process_state.state()).map_or(Ok(()), Err).and_then(|()| {
            let (reply, answer) = oneshot::channel();
            let command = ChannelCommand::Message(json.to_owned(), reply);
            if worker.send_command(process_state.incarnation, command) { Ok(answer) } else { Err("it has no channel") }
        });
        MessageTarget { slot, pid: worker.pid_of(process_state.incarnation), answer }
    };
    let none = || {
        let answer = Err(untold(worker.slot.state()).unwrap_or("it has no process"));
        MessageTarget { slot, pid: None, answer }
    };
    let present = worker.slot.current().map_or_else(none, to);
    [present].into_iter().chain(worker.slot.replacement().map(to)).collect()
}

/// Returns the reason why a process in that state gets no message, if there is one.
fn untold(state: SlotState) -> Option<&'static str> {
    match state {
        SlotState::Ready | SlotState::Busy | SlotState::Suspect => None,
        // Node drops messages that come before its application listens for them.
        SlotState::Starting => {
            Some("it is starting, and may not listen for messages yet: send the message again when it is ready")
        }
        SlotState::Parked | SlotState::Draining | SlotState::Stopping => Some("it is leaving"),
        SlotState::Backoff | SlotState::Failed => Some("it has no process, and waits for its next start"),
        SlotState::Stopped => Some("it is stopped"),
    }
}

/// Collects the answers of all channels that come in time.
async fn gather(targets: Vec<MessageTarget>) -> Vec<Delivery> {
    let deadline = Instant::now() + PATIENCE;
    let mut deliveries = Vec::with_capacity(targets.len());
    for MessageTarget { slot, pid, answer } in targets {
        let result = match answer {
            Err(why) => Err(why.to_owned()),
            Ok(answer) => match timeout_at(deadline, answer).await {
                Ok(Ok(said)) => said.map_err(|unsent| unsent.to_string()),
                Ok(Err(_)) => Err("it has ended".to_owned()),
                Err(_) => Err("its channel did not answer within 1s, and may still tell it".to_owned()),
            },
        };
        deliveries.push(Delivery { slot, pid, result });
    }
    deliveries
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn silent_channels_delay_a_message_reply_by_one_second_at_most() {
        let (told, answer) = oneshot::channel();
        told.send(Ok(())).unwrap();
        let (_silent, silence) = oneshot::channel();
        let (_other, other) = oneshot::channel();
        let (_, gone) = oneshot::channel();
        let (full, no) = oneshot::channel();
        full.send(Err(Unsent::Full)).unwrap();
        let answers = [Ok(silence), Ok(other), Ok(answer), Ok(gone), Ok(no), Err("it is stopped")];
        let targets = (0..).zip(answers).map(|(slot, answer)| MessageTarget { slot, pid: Some(slot + 10), answer });
        let begun = Instant::now();
        let deliveries = gather(targets.collect()).await;
        assert_eq!(begun.elapsed(), PATIENCE, "one deadline for all");
        let late = "its channel did not answer within 1s, and may still tell it";
        let expected = [
            Err(late),
            Err(late),
            Ok(()),
            Err("it has ended"),
            Err("the worker has not read the messages before it"),
            Err("it is stopped"),
        ];
        for (delivery, (slot, result)) in deliveries.iter().zip((0..).zip(expected)) {
            let expected = Delivery { slot, pid: Some(slot + 10), result: result.map_err(str::to_owned) };
            assert_eq!(*delivery, expected);
        }
        assert_eq!(deliveries.len(), 6);
    }
}
