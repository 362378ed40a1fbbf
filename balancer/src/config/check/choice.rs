//! Rules on the choice of the worker, and on weights. Pure.

use super::{Violation, most_workers, path};
use crate::config::PoolConfig;
use crate::mode::Acceptor;

pub(super) fn check(pool: &PoolConfig, is_written: &dyn Fn(&str) -> bool, found: &mut Vec<Violation>) {
    let mode = pool.mode.name();
    for key in ["strategy", "weights", "slow-start"] {
        let at = path(pool, key);
        if pool.mode.acceptor() == Acceptor::Workers && is_written(&at) {
            let message = format!("in mode `{mode}` the workers accept, so the kernel chooses and `{key}` has no say");
            found.push(Violation::error(at, message).label("remove it").also(path(pool, "mode")));
        }
    }
    let (weights, most) = (pool.weights.len(), most_workers(pool));
    if weights > most as usize {
        let s = if most == 1 { "" } else { "s" };
        let message = format!("weights has {weights} entries, and the pool at most {most} worker{s}");
        let violation = Violation::error(path(pool, "weights"), message).label("one a worker, by slot");
        found.push(violation.also(path(pool, "workers")));
    }
}

#[cfg(test)]
mod tests {
    use super::super::{
        check,
        tests::{broken, pool, with},
    };
    use crate::config::WorkerCount;
    use crate::mode::Mode;

    #[test]
    fn strategy_is_refused_where_the_kernel_chooses() {
        let mut config = with(vec![pool("a", &["127.0.0.1:80"])]);
        config.pools[0].mode = Mode::Shared;
        let paths =
            |is_written: bool| check(&config, &|_| is_written).into_iter().map(|found| found.path).collect::<Vec<_>>();
        let probing = ["pool.a.ready", "pool.a.health.probe"];
        let ours = ["pool.a.strategy", "pool.a.weights", "pool.a.slow-start"];
        assert_eq!(paths(true), [&ours[..], &probing].concat());
        assert_eq!(paths(false), probing, "loading sets these two if they are not written");
    }

    #[test]
    fn more_weights_than_workers_are_refused() {
        let mut config = with(vec![pool("a", &["127.0.0.1:80"])]);
        for (workers, weights, is_sound) in [
            (WorkerCount::Count(2), 2, true),
            (WorkerCount::Count(2), 3, false),
            (WorkerCount::Count(1), 2, false),
            (WorkerCount::Auto, 4, true),
            (WorkerCount::Auto, 5, false),
            (WorkerCount::Max, 1024, true),
        ] {
            (config.pools[0].workers, config.pools[0].weights) = (workers, vec![1; weights]);
            assert_eq!(broken(&config).is_empty(), is_sound, "{workers:?} {weights}");
        }
    }
}
