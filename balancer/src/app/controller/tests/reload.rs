//! Reloads: pools take their new configuration one after the other, or nothing is changed.

use super::*;

#[tokio::test]
async fn reload_gives_pools_their_new_config_one_after_the_other() {
    let mut bench = Bench::new();
    bench.write(&TWO.replace("workers = 2", "workers = 4\nmax-surge = 2"));
    let mut news = bench.command(reload(None));
    for (index, workers) in [(0, 4), (1, 3)] {
        let OperationMessage { pool, request, reply } = bench.asked().await;
        let OperationRequest::Reload(config) = request else { panic!("{request:?}") };
        assert_eq!((pool, config.workers), (index, config::WorkerCount::Count(workers)));
        assert!(bench.asked.is_empty(), "the next one waits for the end of this one");
        bench.pools[index].set_config(config);
        reply.send(began(OperationKind::Reload)).unwrap();
        reply.send(report(OperationKind::Reload, Ok(()), 0)).unwrap();
        let Some(CommandUpdate::Step { plan, .. }) = news.recv().await else { panic!("no step") };
        assert_eq!(plan.at_once, Some([2, 1][index]));
        assert!(matches!(news.recv().await, Some(CommandUpdate::Report { .. })));
    }
    assert_eq!(news.recv().await, None);
    // The next reload compares with the configuration that was taken now.
    assert_eq!(bench.controller.config().pools[0].workers, config::WorkerCount::Count(4));
}

#[tokio::test]
async fn reload_ends_at_the_first_pool_that_fails_or_loses_clients() {
    for (result, lost, has_new_config) in [(Err("no"), 0, false), (Ok(()), 2, true)] {
        let mut bench = Bench::new();
        bench.write(&TWO.replace("workers = 2", "workers = 4"));
        let mut news = bench.command(reload(None));
        let OperationMessage { request, reply, .. } = bench.asked().await;
        if let (OperationRequest::Reload(config), true) = (request, has_new_config) {
            bench.pools[0].set_config(config);
        }
        reply.send(report(OperationKind::Reload, result, lost)).unwrap();
        assert!(matches!(news.recv().await, Some(CommandUpdate::Report { .. })));
        let Some(CommandUpdate::Refused(refused)) = news.recv().await else { panic!("the other is not told of") };
        assert_eq!(refused.pool.as_deref(), Some("jobs"));
        assert_eq!(refused.why, "not reloaded, since the reload of api did not go well");
        assert_eq!(news.recv().await, None);
        assert!(bench.asked.is_empty());
        let workers = if has_new_config { 4 } else { 2 };
        assert_eq!(bench.controller.config().pools[0].workers, config::WorkerCount::Count(workers));
    }
}

#[tokio::test]
async fn reload_during_shutdown_reports_each_pool() {
    let third = "[pool.mail]\ncommand = [\"z\"]\nworkers = 1\nlisten = \":8003\"\n";
    let mut bench = Bench::of(&(TWO.to_owned() + third));
    let mut news = bench.command(reload(None));
    bench.take_config().await;
    assert!(matches!(news.recv().await, Some(CommandUpdate::Report { .. })));
    drop(bench.asked().await);
    for (pool, why) in
        [("jobs", "the master is stopping"), ("mail", "not reloaded, since the reload of jobs did not go well")]
    {
        let Some(CommandUpdate::Refused(refused)) = news.recv().await else { panic!("{pool} is not told of") };
        assert_eq!((refused.pool.as_deref(), refused.why.as_str()), (Some(pool), why));
    }
    assert_eq!(news.recv().await, None);

    // Before anything was begun, the client gets one answer: the controller's own.
    let mut news = bench.command(reload(None));
    drop(bench.asked().await);
    assert_eq!(
        news.recv().await,
        Some(CommandUpdate::Refused(CommandError { pool: Some("api".into()), ..CommandError::stopping() }))
    );
    assert_eq!(news.recv().await, None);
}

#[tokio::test]
async fn file_with_mistakes_changes_nothing_and_all_are_reported() {
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
        for command in [reload(None), reload(Some("jobs"))] {
            let refused = bench.refused(command).await;
            assert_eq!(refused.kind, CommandErrorKind::Config);
            assert!(parts.iter().all(|part| refused.why.contains(part)), "{}", refused.why);
        }
    }
    assert!(bench.asked.is_empty());
    assert_eq!(bench.ended(1, OperationKind::Reload), [0, 0, 0, 6]);
}

#[tokio::test]
async fn setting_for_a_new_master_only_is_refused_by_name() {
    let mut bench = Bench::new();
    let text = TWO.replace(":8002", ":8003\"\nbacklog = 7\nmode = \"shared").replace("workers = 2", "workers = 4");
    bench.write(&format!("{text}\n[log]\nformat = \"json\"\nlevel = \"debug\"\n"));
    let refused = bench.refused(reload(None)).await;
    assert_eq!(refused.kind, CommandErrorKind::Refused);
    let keys: Vec<_> = refused.why.lines().filter_map(|line| line.split_once(": ")).collect();
    assert_eq!(keys[0], ("log.format", "\"auto\" -> \"json\" needs a restart of the master"));
    let keys: Vec<_> = keys.into_iter().map(|(key, _)| key).collect();
    assert_eq!(keys, ["log.format", "pool.jobs.backlog", "pool.jobs.mode"]);
    assert_eq!((bench.listeners.said(), bench.levels.lock().unwrap().len()), (Vec::new(), 0), "nothing was touched");

    // A reload of one pool is not refused because of another pool, or of a pool that is new.
    let third = "[pool.third]\ncommand = [\"z\"]\nlisten = \":8004\"\n";
    bench.write(&(TWO.replace("workers = 3", "backlog = 7") + third));
    assert!(bench.refused(reload(None)).await.why.contains("pool.third: no pool -> a pool"));
    let _news = bench.command(reload(Some("api")));
    assert!(matches!(bench.asked().await, OperationMessage { pool: 0, request: OperationRequest::Reload(_), .. }));
}
