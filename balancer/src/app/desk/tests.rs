//! Orders against a script in the place of the supervisors and the listeners.

mod doors;
mod message;

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use super::*;
use crate::admin::orders::Size;
use crate::app::LogLevel;
use crate::config::{self, Source, Sources};
use crate::pool::operation::{Ends, Ledger};
use crate::stats::Verdict;
use doors::TestDoors;

/// A desk over the pools of a file, and the supervisors' side of it.
struct Bench {
    desk: Arc<Desk>,
    asked: mpsc::UnboundedReceiver<Question>,
    pools: Vec<Arc<Pool>>,
    doors: Arc<TestDoors>,
    /// Every `log.level` that was set.
    levels: Arc<Mutex<Vec<String>>>,
    file: PathBuf,
    _place: tempfile::TempDir,
}

const TWO: &str = "[pool.api]\ncommand = [\"x\"]\nworkers = 2\nlisten = \":8001\"\n\
                   [pool.jobs]\ncommand = [\"y\"]\nworkers = 3\nlisten = \":8002\"\n";

impl Bench {
    fn new() -> Self {
        Self::of(TWO)
    }

    fn of(text: &str) -> Self {
        let place = tempfile::tempdir().unwrap();
        let file = place.path().join("r.toml");
        std::fs::write(&file, text).unwrap();
        let sources = Sources { file: Some(Source::read(&file).unwrap()), cpus: 4, ..Sources::default() };
        let config = config::load(&sources).unwrap().config;
        let pool = |pool: &config::Pool| Arc::new(Pool::new(pool.clone(), pool.workers.resolve(4), 1, Vec::new()));
        let pools: Vec<_> = config.pools.iter().map(pool).collect();
        let (doors, levels) = (Arc::new(TestDoors::default()), Arc::new(Mutex::default()));
        let set = {
            let levels: Arc<Mutex<Vec<String>>> = Arc::clone(&levels);
            LogLevel::new(move |level| levels.lock().unwrap().push(level.to_owned()))
        };
        let reread = Reread::new(sources, Some(file.clone()), None);
        let (desk, asked) = Desk::new(pools.clone(), config, reread, Arc::<TestDoors>::clone(&doors), set);
        Self { desk, asked, pools, doors, levels, file, _place: place }
    }

    fn write(&self, text: &str) {
        std::fs::write(&self.file, text).unwrap();
    }

    fn order(&self, demand: Demand) -> mpsc::UnboundedReceiver<Told> {
        let (reply, news) = mpsc::unbounded_channel();
        self.desk.take(Ordered { demand, client: CommandClient::default(), reply });
        news
    }

    /// The refusal of an order that is refused at once, or after the file was read.
    async fn refused(&self, demand: Demand) -> Refused {
        match self.order(demand).recv().await {
            Some(Told::Refused(refused)) => refused,
            other => panic!("not refused: {other:?}"),
        }
    }

    async fn asked(&mut self) -> Asking {
        match self.asked.recv().await.unwrap() {
            Question::Operate(asking) => asking,
            Question::Say(saying) => panic!("no operation: {saying:?}"),
        }
    }

    /// Answers the next reload of a pool as a supervisor that takes the rules.
    async fn take_rules(&mut self) -> usize {
        let Asking { pool, ask, reply } = self.asked().await;
        let Ask::Reload(rules) = ask else { panic!("{ask:?}") };
        self.pools[pool].set_config(rules);
        reply.send(report(Verb::Reload, Ok(()), 0)).unwrap();
        pool
    }

    fn ended(&self, pool: usize, verb: Verb) -> [u64; Verdict::COUNT] {
        self.pools[pool].stats.operations[verb as usize].ended.each_ref().map(|counter| counter.get())
    }
}

impl Desk {
    /// A desk with nothing on it.
    pub(in crate::app) fn idle() -> (Arc<Self>, mpsc::UnboundedReceiver<Question>) {
        let doors = Arc::new(TestDoors::default());
        Self::new(Vec::new(), Config::default(), Reread::default(), doors, LogLevel::default())
    }
}

fn scale(pool: &str, workers: Size) -> Demand {
    Demand::Scale { pool: pool.to_owned(), workers }
}

fn reload(pool: Option<&str>) -> Demand {
    Demand::Reload { pool: pool.map(str::to_owned) }
}

fn report(verb: Verb, result: Result<(), &str>, lost: u64) -> Progress {
    let ends = Some(Ends::default());
    let ledger = Some(Ledger { accepted: 5, cut: lost, ends, ..Ledger::default() });
    let (took, at) = (Duration::from_secs(1), SystemTime::now());
    Progress::Done(Report { verb, result: result.map_err(str::to_owned), generation: 2, took, at, ledger })
}

fn began(verb: Verb) -> Progress {
    Progress::Step(Step::Began { verb, generation: 1, slots: 2 })
}

#[tokio::test]
async fn an_operation_is_passed_on_told_and_counted() {
    let mut bench = Bench::new();
    let mut news = bench.order(scale("jobs", Size::More(2)));
    let asking = bench.asked().await;
    assert!(matches!(asking, Asking { pool: 1, ask: Ask::Scale(5), .. }));
    asking.reply.send(began(Verb::Scale)).unwrap();
    asking.reply.send(report(Verb::Scale, Ok(()), 0)).unwrap();
    let Some(Told::Step { pool, plan, .. }) = news.recv().await else { panic!("no step") };
    assert_eq!((&*pool, plan.workers), ("jobs", Some((3, 5))));
    assert!(matches!(news.recv().await, Some(Told::Report { report, .. }) if report.result.is_ok()));
    assert_eq!(news.recv().await, None);
    assert_eq!(bench.ended(1, Verb::Scale), [1, 0, 0, 0]);
}

#[tokio::test]
async fn a_pool_does_one_thing_at_a_time_and_others_are_free() {
    let mut bench = Bench::new();
    let _news = bench.order(scale("api", Size::Exactly(4)));
    let first = bench.asked().await;
    for demand in [scale("api", Size::Exactly(5)), reload(Some("api")), reload(None)] {
        let refused = bench.refused(demand).await;
        assert_eq!(refused.kind, RefusedKind::Refused);
        assert_eq!(refused.why, "pool api is busy: scale is under way");
    }
    let mut other = bench.order(Demand::Stop { pool: "jobs".into(), which: Which::All });
    let second = bench.asked().await;
    assert!(matches!(second, Asking { pool: 1, ask: Ask::Stop(Which::All), .. }));
    second.reply.send(report(Verb::Stop, Ok(()), 0)).unwrap();
    assert!(matches!(other.recv().await, Some(Told::Report { .. })));
    // Free again when the first is over.
    first.reply.send(report(Verb::Scale, Ok(()), 0)).unwrap();
    drop(first);
    loop {
        let mut news = bench.order(scale("api", Size::Exactly(5)));
        tokio::select! {
            asking = bench.asked() => {
                assert!(matches!(asking.ask, Ask::Scale(5)));
                break;
            }
            Some(Told::Refused(_)) = news.recv() => {}
        }
    }
    assert_eq!(bench.ended(0, Verb::Reload)[Verdict::Refused as usize], 2);
}

#[tokio::test]
async fn what_is_not_there_is_no_target() {
    let bench = Bench::new();
    let refused = bench.refused(scale("apj", Size::Max)).await;
    assert_eq!(
        (refused.kind, refused.hint.as_deref()),
        (RefusedKind::NoTarget, Some("did you mean `api`? pools: api, jobs"))
    );
    let restart = Demand::Restart { pool: "api".into(), which: Which::Slots(1, 2) };
    let refused = bench.refused(restart).await;
    assert_eq!((refused.kind, refused.why.as_str()), (RefusedKind::NoTarget, "pool api has no worker 2"));
    assert_eq!(refused.hint.as_deref(), Some("its workers are api/0 to api/1"));
    let refused = bench.refused(scale("api", Size::Fewer(2))).await;
    assert_eq!(refused.kind, RefusedKind::Refused);
}

#[tokio::test]
async fn a_supervisor_that_refuses_or_ends_is_reported_as_such() {
    let mut bench = Bench::new();
    let mut news = bench.order(scale("api", Size::Max));
    bench.asked().await.reply.send(Progress::Refused("not now".into())).unwrap();
    let Some(Told::Refused(refused)) = news.recv().await else { panic!("not refused") };
    assert_eq!((refused.why.as_str(), refused.pool.as_deref()), ("not now", Some("api")));
    assert_eq!(bench.ended(0, Verb::Scale), [0, 0, 0, 1]);

    // It begins and then ends without a last word.
    let mut news = bench.order(scale("jobs", Size::Max));
    let asking = bench.asked().await;
    asking.reply.send(began(Verb::Scale)).unwrap();
    drop(asking);
    assert!(matches!(news.recv().await, Some(Told::Step { .. })));
    let Some(Told::Report { report, .. }) = news.recv().await else { panic!("no report") };
    assert_eq!(report.result, Err("the pool ended before it was over".to_owned()));
    assert_eq!(bench.ended(1, Verb::Scale), [0, 0, 1, 0]);

    // The master stops: nobody takes questions.
    drop(bench.asked);
    let (reply, mut news) = mpsc::unbounded_channel();
    bench.desk.take(Ordered { demand: scale("api", Size::Max), client: CommandClient::default(), reply });
    assert!(matches!(news.recv().await, Some(Told::Refused(refused)) if refused.kind == RefusedKind::Stopping));
}

#[tokio::test]
async fn a_reload_brings_the_new_rules_to_one_pool_after_the_other() {
    let mut bench = Bench::new();
    bench.write(&TWO.replace("workers = 2", "workers = 4\nmax-surge = 2"));
    let mut news = bench.order(reload(None));
    for (index, workers) in [(0, 4), (1, 3)] {
        let Asking { pool, ask, reply } = bench.asked().await;
        let Ask::Reload(rules) = ask else { panic!("{ask:?}") };
        assert_eq!((pool, rules.workers), (index, config::Workers::Count(workers)));
        assert!(bench.asked.try_recv().is_err(), "the next one waits for the end of this one");
        bench.pools[index].set_config(rules);
        reply.send(began(Verb::Reload)).unwrap();
        reply.send(report(Verb::Reload, Ok(()), 0)).unwrap();
        let Some(Told::Step { plan, .. }) = news.recv().await else { panic!("no step") };
        assert_eq!(plan.at_once, Some([2, 1][index]));
        assert!(matches!(news.recv().await, Some(Told::Report { .. })));
    }
    assert_eq!(news.recv().await, None);
    // What was brought is what the next reload is compared with.
    assert_eq!(bench.desk.config().pools[0].workers, config::Workers::Count(4));
}

#[tokio::test]
async fn the_first_pool_that_fails_ends_the_reload_and_keeps_its_rules() {
    for (result, lost, has_new_rules) in [(Err("no"), 0, false), (Ok(()), 2, true)] {
        let mut bench = Bench::new();
        bench.write(&TWO.replace("workers = 2", "workers = 4"));
        let mut news = bench.order(reload(None));
        let Asking { ask, reply, .. } = bench.asked().await;
        if let (Ask::Reload(rules), true) = (ask, has_new_rules) {
            bench.pools[0].set_config(rules);
        }
        reply.send(report(Verb::Reload, result, lost)).unwrap();
        assert!(matches!(news.recv().await, Some(Told::Report { .. })));
        let Some(Told::Refused(refused)) = news.recv().await else { panic!("the other is not told of") };
        assert_eq!(refused.pool.as_deref(), Some("jobs"));
        assert_eq!(refused.why, "not reloaded, since the reload of api did not go well");
        assert_eq!(news.recv().await, None);
        assert!(bench.asked.try_recv().is_err());
        let workers = if has_new_rules { 4 } else { 2 };
        assert_eq!(bench.desk.config().pools[0].workers, config::Workers::Count(workers));
    }
}

#[tokio::test]
async fn a_reload_that_meets_the_masters_end_says_of_each_pool_what_became_of_it() {
    let third = "[pool.mail]\ncommand = [\"z\"]\nworkers = 1\nlisten = \":8003\"\n";
    let mut bench = Bench::of(&(TWO.to_owned() + third));
    let mut news = bench.order(reload(None));
    bench.take_rules().await;
    assert!(matches!(news.recv().await, Some(Told::Report { .. })));
    drop(bench.asked().await);
    for (pool, why) in
        [("jobs", "the master is stopping"), ("mail", "not reloaded, since the reload of jobs did not go well")]
    {
        let Some(Told::Refused(refused)) = news.recv().await else { panic!("{pool} is not told of") };
        assert_eq!((refused.pool.as_deref(), refused.why.as_str()), (Some(pool), why));
    }
    assert_eq!(news.recv().await, None);

    // Before anything was begun there is one answer, its own.
    let mut news = bench.order(reload(None));
    drop(bench.asked().await);
    assert_eq!(news.recv().await, Some(Told::Refused(Refused { pool: Some("api".into()), ..Refused::stopping() })));
    assert_eq!(news.recv().await, None);
}

#[tokio::test]
async fn a_file_with_mistakes_changes_nothing_and_all_of_them_are_said() {
    let mut bench = Bench::new();
    for (text, parts) in [
        (
            &TWO.replace("workers = 2", "workrs = 2\nsettle = 3"),
            vec!["did you mean `workers`", "a duration needs a unit"],
        ),
        (&TWO[..40].to_owned(), vec!["error"]),
        (&String::new(), vec!["the file is empty"]),
    ] {
        bench.write(text);
        for demand in [reload(None), reload(Some("jobs"))] {
            let refused = bench.refused(demand).await;
            assert_eq!(refused.kind, RefusedKind::Config);
            assert!(parts.iter().all(|part| refused.why.contains(part)), "{}", refused.why);
        }
    }
    assert!(bench.asked.try_recv().is_err());
    assert_eq!(bench.ended(1, Verb::Reload), [0, 0, 0, 6]);
}

#[tokio::test]
async fn what_only_a_new_master_can_take_is_refused_by_name() {
    let mut bench = Bench::new();
    let text = TWO.replace(":8002", ":8003\"\nbacklog = 7\nmode = \"shared").replace("workers = 2", "workers = 4");
    bench.write(&format!("{text}\n[log]\nformat = \"json\"\nlevel = \"debug\"\n"));
    let refused = bench.refused(reload(None)).await;
    assert_eq!(refused.kind, RefusedKind::Refused);
    let keys: Vec<_> = refused.why.lines().filter_map(|line| line.split_once(": ")).collect();
    assert_eq!(keys[0], ("log.format", "\"auto\" -> \"json\" needs a restart of the master"));
    let keys: Vec<_> = keys.into_iter().map(|(key, _)| key).collect();
    assert_eq!(keys, ["log.format", "pool.jobs.backlog", "pool.jobs.mode"]);
    assert_eq!((bench.doors.said(), bench.levels.lock().unwrap().len()), (Vec::new(), 0), "nothing was touched");

    // A reload of one pool is not held up by what concerns another one, or by a pool that is new.
    let third = "[pool.third]\ncommand = [\"z\"]\nlisten = \":8004\"\n";
    bench.write(&(TWO.replace("workers = 3", "backlog = 7") + third));
    assert!(bench.refused(reload(None)).await.why.contains("pool.third: no pool -> a pool"));
    let _news = bench.order(reload(Some("api")));
    assert!(matches!(bench.asked().await, Asking { pool: 0, ask: Ask::Reload(_), .. }));
}

#[tokio::test]
async fn sighup_reloads_everything_and_nobody_need_listen() {
    let mut bench = Bench::new();
    bench.desk.reload_by_signal();
    for pool in 0..2 {
        let asking = bench.asked().await;
        assert_eq!(asking.pool, pool);
        asking.reply.send(report(Verb::Reload, Ok(()), 0)).unwrap();
    }
}

#[tokio::test]
async fn another_strategy_is_asked_of_the_supervisor_and_what_a_reload_compares_with_stays() {
    let mut bench = Bench::new();
    let mut news = bench.order(Demand::Strategy { pool: "api".to_owned(), name: "p2c" });
    let asking = bench.asked().await;
    assert!(matches!(asking, Asking { pool: 0, ask: Ask::Strategy(entry), .. } if entry.name == "p2c"));
    asking.reply.send(began(Verb::Strategy)).unwrap();
    let Some(Told::Step { plan, .. }) = news.recv().await else { panic!("no step") };
    assert_eq!(plan.strategy, Some(("round-robin", "p2c")));
    asking.reply.send(report(Verb::Strategy, Ok(()), 0)).unwrap();
    assert!(matches!(news.recv().await, Some(Told::Report { .. })));
    assert_eq!(bench.ended(0, Verb::Strategy), [1, 0, 0, 0]);
    assert_eq!(bench.desk.config().pools[0].strategy, "round-robin");
    let unknown = bench.refused(Demand::Strategy { pool: "apj".to_owned(), name: "p2c" }).await;
    assert_eq!(unknown.kind, RefusedKind::NoTarget);
}
