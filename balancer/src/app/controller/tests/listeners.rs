//! Listeners without sockets, to see how a reload uses them.

use super::*;
use crate::app::listeners::{Closing, Listeners, PendingListeners};
use crate::failure::{Failure, code};

/// Records every call.
#[derive(Debug, Default)]
pub(super) struct TestListeners {
    said: Mutex<Vec<String>>,
    /// An address that another program holds.
    taken: Mutex<Option<&'static str>>,
    /// True if activating fails.
    is_broken: Mutex<bool>,
}

struct TestPending {
    owner: Arc<TestListeners>,
    what: String,
}

impl TestListeners {
    pub(super) fn said(&self) -> Vec<String> {
        std::mem::take(&mut self.said.lock().unwrap())
    }

    fn say(&self, what: String) {
        self.said.lock().unwrap().push(what);
    }
}

impl Listeners for TestListeners {
    fn open(self: Arc<Self>, pool: usize, config: &config::PoolConfig) -> Result<Box<dyn PendingListeners>, Failure> {
        let listen = config.listen.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
        if self.taken.lock().unwrap().is_some_and(|taken| listen.contains(taken)) {
            return Err(Failure::new(code::FAILED, "cannot listen").cause("held by x").hint("stop x"));
        }
        let what = format!("{pool}: {listen}");
        self.say(format!("open {what}"));
        Ok(Box::new(TestPending { owner: self, what }))
    }

    fn relimit(&self, pool: usize) {
        self.say(format!("relimit {pool}"));
    }
}

impl PendingListeners for TestPending {
    fn activate(mut self: Box<Self>) -> Result<Closing, String> {
        if *self.owner.is_broken.lock().unwrap() {
            return Err("no descriptors".to_owned());
        }
        self.owner.say(format!("activate {}", std::mem::take(&mut self.what)));
        Ok(Box::pin(std::future::ready(())))
    }
}

impl Drop for TestPending {
    fn drop(&mut self) {
        if !self.what.is_empty() {
            self.owner.say(format!("close {}", self.what));
        }
    }
}

/// Returns the configuration with both pools on other ports.
fn moved() -> String {
    TWO.replace(":800", ":900")
}

#[tokio::test]
async fn new_addresses_are_bound_first_and_served_after_the_roll() {
    let mut bench = Bench::new();
    bench.write(&moved());
    let mut news = bench.command(reload(None));
    let first = bench.asked().await;
    assert_eq!(bench.listeners.said(), ["open 0: [::]:9001", "open 1: [::]:9002"]);
    let OperationRequest::Reload(config) = first.request else { panic!("{:?}", first.request) };
    first.reply.send(began(OperationKind::Reload)).unwrap();
    assert!(matches!(news.recv().await, Some(CommandUpdate::Step { .. })));
    assert_eq!(bench.listeners.said(), [""; 0], "not before the roll is over");
    bench.pools[0].set_config(config);
    first.reply.send(report(OperationKind::Reload, Ok(()), 0)).unwrap();
    assert!(matches!(news.recv().await, Some(CommandUpdate::Report { .. })));
    assert_eq!(bench.listeners.said(), ["relimit 0", "activate 0: [::]:9001"], "before it is told");
    assert_eq!(bench.take_config().await, 1);
    while news.recv().await.is_some() {}
    assert_eq!(bench.listeners.said(), ["relimit 1", "activate 1: [::]:9002"]);
    assert_eq!(bench.controller.config().pools[1].listen[0].to_string(), "[::]:9002");
}

#[tokio::test]
async fn taken_address_refuses_the_reload_of_every_pool() {
    let mut bench = Bench::new();
    bench.write(&(moved() + "[log]\nlevel = \"debug\"\n"));
    *bench.listeners.taken.lock().unwrap() = Some(":9002");
    let refused = bench.refused(reload(None)).await;
    assert_eq!((refused.kind, refused.why.as_str()), (CommandErrorKind::Refused, "cannot listen: held by x"));
    assert_eq!(refused.hint.as_deref(), Some("stop x"));
    assert_eq!(bench.listeners.said(), ["open 0: [::]:9001", "close 0: [::]:9001"]);
    assert!(bench.asked.is_empty() && bench.levels.lock().unwrap().is_empty());
    assert_eq!([0, 1].map(|pool| bench.ended(pool, OperationKind::Reload)[OperationResult::Refused as usize]), [1, 1]);
    // Pools that the change does not concern can be reloaded, and this one can be tried again.
    let _news = bench.command(reload(Some("api")));
    assert_eq!(bench.take_config().await, 0);
}

#[tokio::test]
async fn failed_pool_and_those_after_it_keep_their_listeners() {
    let mut bench = Bench::new();
    bench.write(&moved());
    let mut news = bench.command(reload(None));
    bench.asked().await.reply.send(report(OperationKind::Reload, Err("no"), 0)).unwrap();
    while news.recv().await.is_some() {}
    let opens = ["open 0: [::]:9001", "open 1: [::]:9002"];
    let closes = ["close 0: [::]:9001", "close 1: [::]:9002"];
    assert_eq!(bench.listeners.said(), [&opens[..], &["relimit 0"], &closes].concat());
    assert_eq!(bench.controller.config().pools[0].listen[0].to_string(), "[::]:8001");
}

#[tokio::test]
async fn config_that_runs_gets_its_listeners_with_too_few_workers() {
    let mut bench = Bench::new();
    bench.write(&moved().replace("workers = 2", "workers = 4"));
    let mut news = bench.command(reload(Some("api")));
    let OperationMessage { request, reply, .. } = bench.asked().await;
    let OperationRequest::Reload(config) = request else { panic!("{request:?}") };
    let workers = config::WorkerCount::Count(2);
    bench.pools[0].set_config(Arc::new(config::PoolConfig { workers, ..(*config).clone() }));
    reply.send(report(OperationKind::Reload, Err("worker 3 did not become ready"), 0)).unwrap();
    while news.recv().await.is_some() {}
    assert_eq!(bench.listeners.said()[1..], ["relimit 0", "activate 0: [::]:9001"]);
    let config = bench.controller.config().clone();
    assert_eq!((config.pools[0].workers, config.pools[0].listen[0].to_string().as_str()), (workers, "[::]:9001"));
}

#[tokio::test]
async fn listeners_that_cannot_be_served_after_all_make_a_reload_fail() {
    let mut bench = Bench::new();
    bench.write(&moved());
    *bench.listeners.is_broken.lock().unwrap() = true;
    let mut news = bench.command(reload(Some("api")));
    bench.take_config().await;
    let Some(CommandUpdate::Report { report, .. }) = news.recv().await else { panic!("no report") };
    assert_eq!(report.result, Err("no descriptors".to_owned()));
    assert_eq!(bench.ended(0, OperationKind::Reload)[OperationResult::Failed as usize], 1);
}

#[tokio::test]
async fn log_level_is_set_once_and_the_next_reload_compares_it() {
    let mut bench = Bench::new();
    bench.write(&format!("{TWO}\n[log]\nlevel = \"debug\"\n"));
    for _ in 0..2 {
        let mut news = bench.command(reload(Some("jobs")));
        bench.take_config().await;
        while news.recv().await.is_some() {}
        assert_eq!(*bench.levels.lock().unwrap(), ["debug"]);
    }
    assert_eq!(bench.controller.config().log.level, "debug");
}
