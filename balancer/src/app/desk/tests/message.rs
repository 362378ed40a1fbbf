//! Messages: said while an operation is under way, refused where there is no way to the workers.

use super::*;

const THREE: &str = "[pool.api]\ncommand = [\"node\", \"app.js\"]\nmode = \"handoff\"\nworkers = 2\nlisten = \":8001\"\n\
                     [pool.jobs]\ncommand = [\"y\"]\nworkers = 3\nlisten = \":8002\"\n\
                     [pool.lone]\ncommand = [\"y\"]\nmode = \"shared\"\nworkers = 1\nlisten = \":8003\"\n";

fn said(pool: &str, which: Which) -> Demand {
    Demand::Message { pool: pool.to_owned(), message: Message { which, json: "{\"a\":1}".to_owned() } }
}

impl Bench {
    async fn saying(&mut self) -> Saying {
        match self.asked.recv().await.unwrap() {
            Question::Say(saying) => saying,
            Question::Operate(asking) => panic!("an operation: {asking:?}"),
        }
    }
}

#[tokio::test]
async fn a_message_is_passed_on_while_an_operation_is_under_way_and_is_none() {
    let mut bench = Bench::of(THREE);
    let _news = bench.order(scale("api", Size::More(1)));
    let _under_way = bench.asked().await;
    let mut news = bench.order(said("api", Which::Slots(1, 1)));
    let Saying { pool, message, reply } = bench.saying().await;
    assert_eq!((pool, message.which, message.json.as_str()), (0, Which::Slots(1, 1), "{\"a\":1}"));
    let deliveries = vec![Delivery { slot: 1, pid: Some(7), result: Ok(()) }];
    reply.send(deliveries.clone()).unwrap();
    assert_eq!(news.recv().await, Some(Told::Message { pool: "api".into(), deliveries }));
    assert_eq!(news.recv().await, None);
    let counted: Vec<_> = Verb::ALL.into_iter().map(|verb| bench.ended(0, verb)).collect();
    assert_eq!(counted, [[0; 4]; Verb::ALL.len()]);
}

#[tokio::test]
async fn what_can_be_said_to_nobody_is_refused_with_the_reason() {
    let mut bench = Bench::of(THREE);
    for (demand, kind, why) in [
        (said("apj", Which::All), RefusedKind::NoTarget, "no pool named `apj`"),
        (said("api", Which::Slots(0, 2)), RefusedKind::NoTarget, "pool api has no worker 2"),
        (
            said("jobs", Which::All),
            RefusedKind::Refused,
            "in mode proxy the workers of pool jobs have no channel on which they could be told anything",
        ),
        (
            said("lone", Which::All),
            RefusedKind::Refused,
            "in mode shared the workers of pool lone have no channel on which they could be told anything",
        ),
    ] {
        let refused = bench.refused(demand).await;
        assert_eq!((refused.kind, refused.why.as_str()), (kind, why));
        assert!(refused.hint.is_some());
    }
    assert!(bench.asked.try_recv().is_err(), "no supervisor was asked");

    let mut news = bench.order(said("api", Which::All));
    bench.saying().await.reply.send(Vec::new()).unwrap();
    let Some(Told::Refused(refused)) = news.recv().await else { panic!("not refused") };
    assert_eq!(refused.why, "all workers of pool api are stopped");

    // The pool has ended, and then the master has.
    let mut news = bench.order(said("api", Which::All));
    drop(bench.saying().await);
    let stopping = Told::Refused(Refused { pool: Some("api".to_owned()), ..Refused::stopping() });
    assert_eq!(news.recv().await, Some(stopping.clone()));
    drop(bench.asked);
    let (reply, mut news) = mpsc::unbounded_channel();
    bench.desk.take(Ordered { demand: said("api", Which::All), client: CommandClient::default(), reply });
    assert_eq!(news.recv().await, Some(stopping));
}
