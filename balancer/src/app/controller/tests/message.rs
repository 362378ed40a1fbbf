//! Messages: sent during an operation, refused where the workers have no channel.

use super::*;

const THREE: &str = "[pool.api]\ncommand = [\"node\", \"app.js\"]\nmode = \"handoff\"\nworkers = 2\nlisten = \":8001\"\n\
                     [pool.jobs]\ncommand = [\"y\"]\nworkers = 3\nlisten = \":8002\"\n\
                     [pool.lone]\ncommand = [\"y\"]\nmode = \"shared\"\nworkers = 1\nlisten = \":8003\"\n";

fn said(pool: &str, slots: SlotRange) -> ControlCommand {
    ControlCommand::Message { pool: pool.to_owned(), message: Message { slots, json: "{\"a\":1}".to_owned() } }
}

impl Bench {
    async fn worker_message(&mut self) -> WorkerMessage {
        match self.asked.recv().await.unwrap() {
            SupervisorRequest::Send(message) => message,
            SupervisorRequest::Operate(_) => panic!("an operation"),
        }
    }
}

#[tokio::test]
async fn message_during_an_operation_is_passed_on_and_not_counted() {
    let mut bench = Bench::of(THREE);
    let _news = bench.command(scale("api", Size::More(1)));
    let _under_way = bench.asked().await;
    let mut news = bench.command(said("api", SlotRange::Slots(1, 1)));
    let WorkerMessage { pool, message, reply } = bench.worker_message().await;
    assert_eq!((pool, message.slots, message.json.as_str()), (0, SlotRange::Slots(1, 1), "{\"a\":1}"));
    let deliveries = vec![Delivery { slot: 1, pid: Some(7), result: Ok(()) }];
    reply.send(deliveries.clone()).unwrap();
    assert_eq!(news.recv().await, Some(CommandUpdate::Message { pool: "api".into(), deliveries }));
    assert_eq!(news.recv().await, None);
    let counted: Vec<_> = OperationKind::ALL.into_iter().map(|verb| bench.ended(0, verb)).collect();
    assert_eq!(counted, [[0; 4]; OperationKind::ALL.len()]);
}

#[tokio::test]
async fn undeliverable_message_is_refused_with_the_reason() {
    let mut bench = Bench::of(THREE);
    for (command, kind, why) in [
        (said("apj", SlotRange::All), CommandErrorKind::NoTarget, "no pool named `apj`"),
        (said("api", SlotRange::Slots(0, 2)), CommandErrorKind::NoTarget, "pool api has no worker 2"),
        (
            said("jobs", SlotRange::All),
            CommandErrorKind::Refused,
            "in mode proxy the workers of pool jobs have no channel on which they could be told anything",
        ),
        (
            said("lone", SlotRange::All),
            CommandErrorKind::Refused,
            "in mode shared the workers of pool lone have no channel on which they could be told anything",
        ),
    ] {
        let refused = bench.refused(command).await;
        assert_eq!((refused.kind, refused.why.as_str()), (kind, why));
        assert!(refused.hint.is_some());
    }
    assert!(bench.asked.is_empty(), "no supervisor was asked");

    let mut news = bench.command(said("api", SlotRange::All));
    bench.worker_message().await.reply.send(Vec::new()).unwrap();
    let Some(CommandUpdate::Refused(refused)) = news.recv().await else { panic!("not refused") };
    assert_eq!(refused.why, "all workers of pool api are stopped");

    // First the pool has ended, then the master, too.
    let mut news = bench.command(said("api", SlotRange::All));
    drop(bench.worker_message().await);
    let stopping = CommandUpdate::Refused(CommandError { pool: Some("api".to_owned()), ..CommandError::stopping() });
    assert_eq!(news.recv().await, Some(stopping.clone()));
    drop(bench.asked);
    let (reply, mut news) = mpsc::unbounded_channel();
    bench.controller.take(CommandRequest {
        command: said("api", SlotRange::All),
        client: CommandClient::default(),
        reply,
    });
    assert_eq!(news.recv().await, Some(stopping));
}
