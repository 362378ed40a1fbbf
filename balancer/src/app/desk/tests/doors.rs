//! Listeners without sockets, and what a reload does with them.

use super::*;
use crate::app::doors::{Closing, Doors, Opened};
use crate::failure::{Failure, code};

/// Writes down what is done to the listeners.
#[derive(Debug, Default)]
pub(super) struct TestDoors {
    said: Mutex<Vec<String>>,
    /// A port that is taken.
    taken: Mutex<Option<&'static str>>,
    /// Nothing can be accepted on any more.
    is_broken: Mutex<bool>,
}

struct TestOpened {
    owner: Arc<TestDoors>,
    what: String,
}

impl TestDoors {
    pub(super) fn said(&self) -> Vec<String> {
        std::mem::take(&mut self.said.lock().unwrap())
    }

    fn say(&self, what: String) {
        self.said.lock().unwrap().push(what);
    }
}

impl Doors for TestDoors {
    fn open(self: Arc<Self>, pool: usize, rules: &config::Pool) -> Result<Box<dyn Opened>, Failure> {
        let listen = rules.listen.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
        if self.taken.lock().unwrap().is_some_and(|taken| listen.contains(taken)) {
            return Err(Failure::new(code::FAILED, "cannot listen").cause("held by x").hint("stop x"));
        }
        let what = format!("{pool}: {listen}");
        self.say(format!("open {what}"));
        Ok(Box::new(TestOpened { owner: self, what }))
    }

    fn relimit(&self, pool: usize) {
        self.say(format!("relimit {pool}"));
    }
}

impl Opened for TestOpened {
    fn enter(mut self: Box<Self>) -> Result<Closing, String> {
        if *self.owner.is_broken.lock().unwrap() {
            return Err("no descriptors".to_owned());
        }
        self.owner.say(format!("enter {}", std::mem::take(&mut self.what)));
        Ok(Box::pin(std::future::ready(())))
    }
}

impl Drop for TestOpened {
    fn drop(&mut self) {
        if !self.what.is_empty() {
            self.owner.say(format!("close {}", self.what));
        }
    }
}

/// Both pools on other ports.
fn moved() -> String {
    TWO.replace(":800", ":900")
}

#[tokio::test]
async fn new_addresses_are_bound_before_all_else_and_served_when_their_pool_has_its_rules() {
    let mut bench = Bench::new();
    bench.write(&moved());
    let mut news = bench.order(reload(None));
    let first = bench.asked().await;
    assert_eq!(bench.doors.said(), ["open 0: [::]:9001", "open 1: [::]:9002"]);
    let Ask::Reload(rules) = first.ask else { panic!("{:?}", first.ask) };
    first.reply.send(began(Verb::Reload)).unwrap();
    assert!(matches!(news.recv().await, Some(Told::Step { .. })));
    assert_eq!(bench.doors.said(), [""; 0], "not before the roll is over");
    bench.pools[0].set_config(rules);
    first.reply.send(report(Verb::Reload, Ok(()), 0)).unwrap();
    assert!(matches!(news.recv().await, Some(Told::Report { .. })));
    assert_eq!(bench.doors.said(), ["relimit 0", "enter 0: [::]:9001"], "before it is told");
    assert_eq!(bench.take_rules().await, 1);
    while news.recv().await.is_some() {}
    assert_eq!(bench.doors.said(), ["relimit 1", "enter 1: [::]:9002"]);
    assert_eq!(bench.desk.config().pools[1].listen[0].to_string(), "[::]:9002");
}

#[tokio::test]
async fn an_address_that_is_taken_refuses_the_reload_of_every_pool() {
    let mut bench = Bench::new();
    bench.write(&(moved() + "[log]\nlevel = \"debug\"\n"));
    *bench.doors.taken.lock().unwrap() = Some(":9002");
    let refused = bench.refused(reload(None)).await;
    assert_eq!((refused.kind, refused.why.as_str()), (RefusedKind::Refused, "cannot listen: held by x"));
    assert_eq!(refused.hint.as_deref(), Some("stop x"));
    assert_eq!(bench.doors.said(), ["open 0: [::]:9001", "close 0: [::]:9001"]);
    assert!(bench.asked.try_recv().is_err() && bench.levels.lock().unwrap().is_empty());
    assert_eq!([0, 1].map(|pool| bench.ended(pool, Verb::Reload)[Verdict::Refused as usize]), [1, 1]);
    // What it does not concern is not held up by it, and it may be tried again.
    let _news = bench.order(reload(Some("api")));
    assert_eq!(bench.take_rules().await, 0);
}

#[tokio::test]
async fn a_pool_that_does_not_take_its_rules_keeps_its_listeners_and_so_do_those_after_it() {
    let mut bench = Bench::new();
    bench.write(&moved());
    let mut news = bench.order(reload(None));
    bench.asked().await.reply.send(report(Verb::Reload, Err("no"), 0)).unwrap();
    while news.recv().await.is_some() {}
    let opens = ["open 0: [::]:9001", "open 1: [::]:9002"];
    let closes = ["close 0: [::]:9001", "close 1: [::]:9002"];
    assert_eq!(bench.doors.said(), [&opens[..], &["relimit 0"], &closes].concat());
    assert_eq!(bench.desk.config().pools[0].listen[0].to_string(), "[::]:8001");
}

#[tokio::test]
async fn rules_that_run_have_their_listeners_even_if_the_number_of_workers_was_not_reached() {
    let mut bench = Bench::new();
    bench.write(&moved().replace("workers = 2", "workers = 4"));
    let mut news = bench.order(reload(Some("api")));
    let Asking { ask, reply, .. } = bench.asked().await;
    let Ask::Reload(rules) = ask else { panic!("{ask:?}") };
    let workers = config::Workers::Count(2);
    bench.pools[0].set_config(Arc::new(config::Pool { workers, ..(*rules).clone() }));
    reply.send(report(Verb::Reload, Err("worker 3 did not become ready"), 0)).unwrap();
    while news.recv().await.is_some() {}
    assert_eq!(bench.doors.said()[1..], ["relimit 0", "enter 0: [::]:9001"]);
    let config = bench.desk.config().clone();
    assert_eq!((config.pools[0].workers, config.pools[0].listen[0].to_string().as_str()), (workers, "[::]:9001"));
}

#[tokio::test]
async fn listeners_that_cannot_be_served_after_all_make_a_reload_fail() {
    let mut bench = Bench::new();
    bench.write(&moved());
    *bench.doors.is_broken.lock().unwrap() = true;
    let mut news = bench.order(reload(Some("api")));
    bench.take_rules().await;
    let Some(Told::Report { report, .. }) = news.recv().await else { panic!("no report") };
    assert_eq!(report.result, Err("no descriptors".to_owned()));
    assert_eq!(bench.ended(0, Verb::Reload)[Verdict::Failed as usize], 1);
}

#[tokio::test]
async fn a_log_level_is_taken_once_and_the_next_reload_knows_it() {
    let mut bench = Bench::new();
    bench.write(&format!("{TWO}\n[log]\nlevel = \"debug\"\n"));
    for _ in 0..2 {
        let mut news = bench.order(reload(Some("jobs")));
        bench.take_rules().await;
        while news.recv().await.is_some() {}
        assert_eq!(*bench.levels.lock().unwrap(), ["debug"]);
    }
    assert_eq!(bench.desk.config().log.level, "debug");
}
