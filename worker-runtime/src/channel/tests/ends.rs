//! The ends of connections, workers and masters.

use std::io::{Read, Write};

use tokio::io::AsyncWriteExt;

use super::script::{Said, connection, is_closed};
use super::*;
use crate::protocol::packet::{Refusal, ToWorker};

#[tokio::test]
async fn end_is_reported_after_the_socket_is_closed() {
    let (mut worker, master) = pair();
    for id in 0..50 {
        let mut client = master.connect(id);
        let stream = accepted(&mut worker).await.expect("a stream");
        assert_eq!(master.hears().await, Said::Taken(vec![id]));
        // Every other connection is closed by lingering.
        if id % 2 == 0 {
            drop(stream);
        } else {
            let lingering = tokio::spawn(stream.linger());
            tokio::task::yield_now().await;
            assert_eq!(master.try_hear(), None, "the connection lingers");
            client.shutdown(std::net::Shutdown::Write).expect("shutdown");
            lingering.await.expect("lingered");
        }
        assert_eq!(master.hears().await, Said::Ended(vec![id]));
        client.set_nonblocking(true).expect("non-blocking");
        assert_eq!(client.read(&mut [0]).expect("closed by now"), 0);
    }
}

#[tokio::test]
async fn connections_before_the_drain_are_served_later_ones_refused() {
    let (mut worker, master) = pair();
    let mut clients: Vec<_> = (0..20).map(|id| master.connect(id)).collect();
    worker.draining().begin();
    for id in 0..20 {
        let mut stream = accepted(&mut worker).await.unwrap_or_else(|| panic!("client {id} was forgotten"));
        worker.spawn(async move { stream.write_all(b"bye").await });
        if id == 10 {
            clients.push(master.connect(20));
        }
    }
    let mut last = accepted(&mut worker).await.expect("the connection that came during the drain");
    worker.spawn(async move { last.write_all(b"bye").await });
    assert!(accepted(&mut worker).await.is_none());
    assert_eq!(worker.endpoints().expect("endpoints"), []);

    let (mut late, socket) = connection();
    master.hand_over(21, &socket);
    master.send(ToWorker::Ping { token: 3 }, &[]);
    let mut told = Vec::new();
    while told.last() != Some(&Said::Refused(Refusal::Draining, vec![21])) {
        told.push(master.hears().await);
    }
    assert!(told.contains(&Said::Taken((0..16).collect())), "{told:?}");
    assert!(!told.contains(&Said::Nothing), "{told:?}");
    // The worker's copy is closed and ours is the only one, so another worker may get the connection.
    let mut ours = socket;
    ours.write_all(b"from another").expect("written");
    drop(ours);
    let mut answer = String::new();
    late.read_to_string(&mut answer).expect("read");
    assert_eq!(answer, "from another");
    assert!(accepted(&mut worker).await.is_none(), "`accept` returns `None` for ever");

    for client in &mut clients {
        let mut answer = String::new();
        client.read_to_string(&mut answer).expect("read");
        assert_eq!(answer, "bye");
    }
    timeout(DEADLINE, worker.finish()).await.expect("finished");
}

#[tokio::test]
async fn finish_returns_after_every_end_is_reported() {
    let (mut worker, master) = pair();
    let _clients: Vec<_> = (0..100).map(|id| master.connect(id)).collect();
    let mut open = Vec::new();
    for _ in 0..100 {
        open.push(accepted(&mut worker).await.expect("a stream"));
        while let Some(said) = master.try_hear() {
            assert!(matches!(said, Said::Taken(_)), "{said:?}");
        }
    }
    let (end, gate) = tokio::sync::oneshot::channel::<()>();
    worker.spawn(async move {
        let _ = gate.await;
        drop(open);
    });
    let finishing = tokio::spawn(worker.finish());
    // A worker that waits for its tasks refuses this connection.
    let _late = master.connect(100);
    assert_eq!(master.hears().await, Said::Refused(Refusal::Draining, vec![100]));
    drop(end);
    timeout(DEADLINE, finishing).await.expect("in time").expect("finished");
    let mut ended = Vec::new();
    while let Some(Said::Ended(ids)) = master.try_hear() {
        assert!(ids.len() <= 64);
        ended.extend(ids);
    }
    assert_eq!(ended, (0..100).collect::<Vec<_>>());
}

#[tokio::test]
async fn worker_finished_without_accepting_refuses_connections() {
    let (worker, master) = pair();
    let mut clients: Vec<_> = (0..3).map(|id| master.connect(id)).collect();
    timeout(DEADLINE, worker.finish()).await.expect("finished");
    assert_eq!(master.hears().await, Said::Refused(Refusal::Draining, vec![0, 1, 2]));
    assert!(clients.iter_mut().all(is_closed));
}

#[tokio::test]
async fn dropped_worker_refuses_connections_and_reports_ends() {
    let (mut worker, master) = pair();
    let _clients: Vec<_> = (0..3).map(|id| master.connect(id)).collect();
    let stream = accepted(&mut worker).await.expect("a stream");
    assert_eq!(master.hears().await, Said::Taken(vec![0, 1, 2]));
    drop(worker);
    assert_eq!(master.hears_ends(2).await, [1, 2]);
    let _late = master.connect(3);
    assert_eq!(master.hears().await, Said::Refused(Refusal::Draining, vec![3]));
    drop(stream);
    assert_eq!(master.hears().await, Said::Ended(vec![0]));
}

#[tokio::test]
async fn master_end_begins_drain_after_its_connections_are_served() {
    let (mut worker, master) = pair();
    let mut clients: Vec<_> = (0..20).map(|id| master.connect(id)).collect();
    drop(master);
    for _ in 0..20 {
        let mut stream = accepted(&mut worker).await.expect("a stream");
        stream.write_all(b"still here").await.expect("written");
    }
    assert!(accepted(&mut worker).await.is_none());
    assert!(worker.draining().has_begun());
    timeout(DEADLINE, worker.finish()).await.expect("finished");
    for client in &mut clients {
        let mut answer = String::new();
        client.read_to_string(&mut answer).expect("read");
        assert_eq!(answer, "still here");
    }
}

#[tokio::test]
async fn master_end_with_unread_packets_begins_the_drain() {
    let (mut worker, master) = pair();
    let _client = master.connect(1);
    let stream = accepted(&mut worker).await.expect("a stream");
    let _second = master.connect(2);
    // The master never reads that the first connection was taken: the kernel reports this as a reset.
    drop(master);
    assert!(accepted(&mut worker).await.is_some(), "packets that the master had sent still arrive");
    assert!(accepted(&mut worker).await.is_none());
    drop(stream);
    timeout(DEADLINE, worker.finish()).await.expect("finished");
}

#[tokio::test]
async fn idle_worker_notices_the_end_of_its_master() {
    let (mut worker, master) = pair();
    let accepting = tokio::spawn(async move { worker.accept().await.map(|stream| stream.is_none()) });
    tokio::task::yield_now().await;
    drop(master);
    assert!(timeout(DEADLINE, accepting).await.expect("in time").expect("task").expect("accepted"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn connection_is_taken_once_and_ends_once_on_many_threads() {
    const WAVES: u64 = 40;
    const EACH: u64 = 25;
    let (mut worker, master) = pair();
    #[cfg(feature = "messages")]
    let receiving = tokio::spawn({
        let messages = worker.messages();
        async move { messages.recv::<u32>().await.is_none() }
    });
    let serving = tokio::spawn(async move {
        while let Some(mut stream) = accepted(&mut worker).await {
            worker.spawn(async move { stream.write_all(b"served").await });
        }
        worker.finish().await;
    });
    let (mut taken, mut ended) = (Vec::new(), Vec::new());
    for wave in 0..WAVES {
        let clients: Vec<_> = (0..EACH).map(|i| master.connect(wave * EACH + i)).collect();
        while (ended.len() as u64) < (wave + 1) * EACH {
            match master.hears().await {
                Said::Taken(ids) => taken.extend(ids),
                Said::Ended(ids) => {
                    assert!(ids.iter().all(|id| taken.contains(id)), "ended before it was taken: {ids:?}");
                    ended.extend(ids);
                }
                other => panic!("{other:?}"),
            }
        }
        for mut client in clients {
            client.set_nonblocking(true).expect("non-blocking");
            let mut answer = String::new();
            client.read_to_string(&mut answer).expect("closed before its end was reported");
            assert_eq!(answer, "served");
        }
    }
    ended.sort_unstable();
    assert_eq!(taken, (0..WAVES * EACH).collect::<Vec<_>>());
    assert_eq!(ended, taken);
    drop(master);
    timeout(DEADLINE, serving).await.expect("in time").expect("finished");
    #[cfg(feature = "messages")]
    assert!(timeout(DEADLINE, receiving).await.expect("in time").expect("task"));
}
