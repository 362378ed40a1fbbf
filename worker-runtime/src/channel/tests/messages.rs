//! Messages, and a channel with a slow master.

use rustix::net::sockopt;
use serde::{Deserialize, Serialize};
use tokio::task::yield_now;

use super::super::mailbox::{MAX_LETTERS, MAX_WAITING};
use super::script::Said;
use super::*;
use crate::protocol::packet::{MAX_MESSAGE, ToWorker};
use crate::{MessageError, Messages};

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Order {
    colour: String,
    size: u32,
}

async fn received<T: serde::de::DeserializeOwned>(messages: &Messages) -> Option<Result<T, MessageError>> {
    timeout(DEADLINE, messages.recv()).await.expect("in time")
}

#[tokio::test]
async fn messages_go_both_ways_without_accepting() {
    let (worker, master) = pair();
    let messages = worker.messages();
    let order = Order { colour: "grün".to_owned(), size: 3 };
    messages.send(&order).expect("sent");
    let json = r#"{"colour":"grün","size":3}"#;
    assert_eq!(master.hears().await, Said::Message(json.to_owned()));
    master.send(ToWorker::Message(json), &[]);
    assert_eq!(received::<Order>(&messages).await.expect("one").expect("an order"), order);
    messages.send("text").expect("sent");
    assert_eq!(master.hears().await, Said::Message("\"text\"".to_owned()));
}

#[tokio::test]
async fn unexpected_message_is_an_error_and_the_next_is_received() {
    let (worker, master) = pair();
    let messages = worker.messages();
    for json in ["{}", "no JSON", r#"{"colour":"red","size":-1}"#, r#"{"colour":"red","size":1}"#] {
        master.send(ToWorker::Message(json), &[]);
    }
    for _ in 0..3 {
        let wrong = received::<Order>(&messages).await.expect("one");
        assert!(matches!(wrong, Err(MessageError::Read(_))), "{wrong:?}");
    }
    assert_eq!(received::<Order>(&messages).await.expect("one").expect("an order").size, 1);
}

#[tokio::test]
async fn messages_arrive_beside_up_to_16_unaccepted_connections() {
    let (mut worker, master) = pair();
    let messages = worker.messages();
    let _clients: Vec<_> = (0..15).map(|id| master.connect(id)).collect();
    master.send(ToWorker::Message("1"), &[]);
    assert_eq!(received::<u32>(&messages).await.expect("one").expect("a number"), 1);
    assert_eq!(master.try_hear(), None, "a task that receives messages takes no connections");
    for id in 0..15 {
        assert!(accepted(&mut worker).await.is_some(), "{id}");
    }
    assert_eq!(master.hears().await, Said::Taken((0..15).collect()));

    // One connection more than are read without being accepted, then a message. The message arrives when the
    // connections are accepted.
    let _clients: Vec<_> = (0..17).map(|id| master.connect(100 + id)).collect();
    master.send(ToWorker::Message("2"), &[]);
    let receiving = tokio::spawn({
        let messages = messages.clone();
        async move { received::<u32>(&messages).await }
    });
    for _ in 0..20 {
        yield_now().await;
    }
    assert!(!receiving.is_finished());
    let accepting = tokio::spawn(async move { while accepted(&mut worker).await.is_some() {} });
    assert_eq!(receiving.await.expect("task").expect("one").expect("a number"), 2);
    assert!(!accepting.is_finished());
    accepting.abort();
}

#[tokio::test]
async fn message_is_received_once_by_one_of_several_receivers() {
    let (worker, master) = pair();
    let receivers: Vec<_> = (0..4)
        .map(|_| {
            let messages = worker.messages();
            tokio::spawn(async move {
                let mut had = Vec::new();
                while let Some(number) = messages.recv::<u32>().await {
                    had.push(number.expect("a number"));
                    yield_now().await;
                }
                had
            })
        })
        .collect();
    yield_now().await;
    for number in 0..100 {
        master.send(ToWorker::Message(&number.to_string()), &[]);
    }
    drop(master);
    let mut had = Vec::new();
    for receiver in receivers {
        had.extend(timeout(DEADLINE, receiver).await.expect("the receiver ends with the master").expect("task"));
    }
    had.sort_unstable();
    assert_eq!(had, (0..100).collect::<Vec<_>>());
}

#[tokio::test]
async fn receiver_ends_when_the_worker_drains() {
    let (worker, master) = pair();
    let messages = worker.messages();
    let received = worker.spawn({
        let messages = messages.clone();
        async move {
            let mut all = Vec::new();
            while let Some(number) = messages.recv::<u32>().await {
                all.push(number.expect("a number"));
            }
            all
        }
    });
    yield_now().await;
    master.send(ToWorker::Message("1"), &[]);
    master.send(ToWorker::Message("2"), &[]);
    timeout(DEADLINE, worker.finish()).await.expect("a task that receives messages does not delay the end");
    assert_eq!(received.await.expect("task"), [1, 2]);
    messages.send("still possible").expect("sent");
    assert_eq!(master.hears().await, Said::Message("\"still possible\"".to_owned()));
}

#[tokio::test]
async fn newest_messages_beyond_the_limit_are_lost_and_counted() {
    let (mut worker, master) = pair();
    let messages = worker.messages();
    let accepting = tokio::spawn(async move { while accepted(&mut worker).await.is_some() {} });
    for number in 0..MAX_LETTERS + 10 {
        master.send(ToWorker::Message(&number.to_string()), &[]);
        // The kernel's queue is shorter than the worker's, so each message is followed by a ping and waits for the
        // answer.
        master.send(ToWorker::Ping { token: number as u64 }, &[]);
        assert_eq!(master.hears().await, Said::Pong(number as u64));
    }
    assert_eq!(messages.lost(), 10);
    for number in 0..MAX_LETTERS {
        assert_eq!(received::<usize>(&messages).await.expect("one").expect("a number"), number);
    }
    master.send(ToWorker::Message("7"), &[]);
    assert_eq!(received::<usize>(&messages).await.expect("one").expect("there is room again"), 7);
    accepting.abort();
}

#[tokio::test]
async fn unsendable_message_is_an_error() {
    let (worker, master) = pair();
    let messages = worker.messages();
    // The two quotation marks count, too.
    messages.send(&"x".repeat(MAX_MESSAGE - 2)).expect("the longest");
    let longer = messages.send(&"x".repeat(MAX_MESSAGE - 1)).expect_err("too long");
    assert_eq!(longer.to_string(), "the message has 65537 bytes of JSON; at most 65536 are allowed");
    let keyless = std::collections::BTreeMap::from([((1, 2), 3)]);
    assert!(matches!(messages.send(&keyless), Err(MessageError::Write(_))));
    drop(master);
    assert!(received::<u32>(&messages).await.is_none());
    assert!(matches!(messages.send(&1), Err(MessageError::Ended)));
}

#[tokio::test]
async fn worker_without_channel_has_no_messages() {
    let lookup = |name: &str| (name == crate::protocol::PORT).then(|| "0".into());
    let worker = Worker::open(&lookup).await.expect("worker");
    let messages = worker.messages();
    assert!(messages.recv::<u32>().await.is_none());
    assert!(matches!(messages.send(&1), Err(MessageError::NoChannel)));
    assert_eq!(messages.lost(), 0);
}

#[tokio::test]
async fn full_socket_keeps_the_order_and_holds_connections_back() {
    let (master, worker) = Master::pair();
    sockopt::set_socket_send_buffer_size(&worker, 4096).expect("a small buffer");
    let mut worker = Worker::over(worker);
    let messages = worker.messages();
    let text = "x".repeat(1000);
    for number in 0..100 {
        messages.send(&(number, &text)).expect("queued");
    }
    let _client = master.connect(7);
    master.send(ToWorker::Ping { token: 1 }, &[]);
    let accepting = tokio::spawn(async move { (worker.accept().await.expect("accepted").expect("a stream"), worker) });
    for _ in 0..20 {
        yield_now().await;
    }
    assert!(!accepting.is_finished(), "the master cannot know yet that the connection is taken");
    for number in 0..100 {
        assert_eq!(master.hears().await, Said::Message(format!("[{number},\"{text}\"]")));
        if number < 50 {
            assert!(!accepting.is_finished());
        }
    }
    assert_eq!(master.hears().await, Said::Pong(1));
    assert_eq!(master.hears().await, Said::Taken(vec![7]));
    let (stream, worker) = timeout(DEADLINE, accepting).await.expect("in time").expect("task");
    for number in 0..100 {
        messages.send(&(number, &text)).expect("queued again");
    }
    drop(stream);
    let finishing = tokio::spawn(worker.finish());
    for _ in 0..100 {
        assert!(matches!(master.hears().await, Said::Message(_)));
    }
    assert_eq!(master.hears().await, Said::Ended(vec![7]));
    timeout(DEADLINE, finishing).await.expect("in time").expect("finished");
}

#[tokio::test]
async fn master_that_never_reads_fails_send_but_not_finish() {
    let (worker, _master) = pair();
    let messages = worker.messages();
    let text = "x".repeat(60_000);
    let mut sent = 0;
    let refused = loop {
        match messages.send(&text) {
            Ok(()) => sent += text.len(),
            Err(error) => break error,
        }
    };
    assert!(matches!(refused, MessageError::Busy), "{refused}");
    assert!(sent > MAX_WAITING - text.len(), "{sent}");
    timeout(DEADLINE, worker.finish()).await.expect("the worker gives up on a master that does not read");
}
