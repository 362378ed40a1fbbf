//! The order in which cells are measured, the time that takes, and the rates. Pure.

use crate::record::Method;

/// The time to set up a way with its workers and to end it, in seconds, roughly.
const SETUP_SECONDS: f64 = 0.5;
/// The longest calibration, in seconds; a longer one would not find the saturation better.
pub const CALIBRATION_SECONDS: f64 = 1.0;
/// The part of the lowest saturation at which events happen: the workers that are left can serve it.
pub const EVENT_SHARE: f64 = 0.35;

/// Returns one repetition's ways in random order, so that neither a drift of the machine nor an after-effect of one way
/// always hits the same way. The same seed gives the same order.
pub fn shuffled(ways: &[usize], seed: u64) -> Vec<usize> {
    let mut shuffled = ways.to_vec();
    fastrand::Rng::with_seed(seed).shuffle(&mut shuffled);
    shuffled
}

/// Returns the rates of the open loop in rising order, as parts of the lowest saturation; or the one rate of the user.
pub fn rates(method: &Method, has_event: bool, lowest: f64) -> Vec<f64> {
    let round = |rate: f64| rate.max(1.0).round();
    match (method.rate, has_event) {
        (Some(rate), _) => vec![rate],
        (None, true) => vec![round(lowest * EVENT_SHARE)],
        (None, false) => method.shares.iter().map(|share| round(lowest * share)).collect(),
    }
}

/// Returns the seconds that one repetition takes.
pub fn repetition_seconds(method: &Method, has_event: bool) -> f64 {
    let open = |seconds: f64| method.warm_up_seconds + seconds;
    let phases = if has_event {
        open(method.event_seconds)
    } else {
        let rates = if method.rate.is_some() { 1 } else { method.shares.len() };
        method.closed_seconds + open(method.open_seconds) * rates as f64
    };
    SETUP_SECONDS + method.warm_up_seconds + phases
}

/// Returns the seconds that a calibration takes.
pub fn calibration_seconds(method: &Method) -> f64 {
    SETUP_SECONDS + method.warm_up_seconds + method.closed_seconds.min(CALIBRATION_SECONDS)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn method() -> Method {
        Method {
            shares: vec![0.5, 0.7, 0.9],
            closed_seconds: 2.0,
            open_seconds: 3.0,
            event_seconds: 5.0,
            ..Method::default()
        }
    }

    #[test]
    fn no_way_always_follows_the_same() {
        let ways = [3, 5, 7, 9];
        let orders: Vec<_> = (0..30).map(|seed| shuffled(&ways, seed)).collect();
        let before_five = |order: &Vec<usize>| order.iter().take_while(|way| **way != 5).last().copied();
        let predecessors: std::collections::BTreeSet<_> = orders.iter().map(before_five).collect();
        assert_eq!(predecessors.len(), 4, "each of the others, and none: {predecessors:?}");
        assert!(orders.iter().all(|order| ways.iter().all(|way| order.contains(way)) && order.len() == 4));
        assert_eq!(shuffled(&ways, 7), shuffled(&ways, 7));
        assert!(shuffled(&[], 1).is_empty());
    }

    #[test]
    fn rates_are_the_same_for_all_ways_and_follow_the_slowest() {
        assert_eq!(rates(&method(), false, 1000.0), [500.0, 700.0, 900.0]);
        assert_eq!(rates(&method(), true, 1000.0), [350.0]);
        assert_eq!(rates(&method(), false, 0.0), [1.0, 1.0, 1.0], "never none");
        assert_eq!(rates(&Method { rate: Some(33.0), ..method() }, false, 1000.0), [33.0]);
    }

    #[test]
    fn estimate_counts_every_phase() {
        assert_eq!(repetition_seconds(&method(), false), SETUP_SECONDS + 2.0 + 9.0);
        assert_eq!(repetition_seconds(&method(), true), SETUP_SECONDS + 5.0);
        assert_eq!(calibration_seconds(&method()), SETUP_SECONDS + 1.0);
    }
}
