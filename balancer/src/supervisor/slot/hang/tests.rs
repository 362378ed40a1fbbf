use super::*;

const STEP: Duration = Duration::from_millis(250);
const SECOND: Duration = Duration::from_secs(1);

/// The samples that a worker of each kind allows.
#[derive(Clone, Copy, Debug)]
enum Sign {
    Waiting,
    Unanswered,
    NoBeat,
    Stopped,
}

/// Creates a worker that shows one sign from the beginning, and never makes progress.
fn worker(sign: Sign, in_service: Option<usize>, begun: Instant) -> HangDetector {
    let mut detector = HangDetector::default();
    let waiting = usize::from(matches!(sign, Sign::Waiting));
    detector.saw(ProgressSample { waiting, in_service, has_moved: false }, begun);
    match sign {
        Sign::Waiting => {}
        Sign::Unanswered => detector.unanswered(begun),
        Sign::NoBeat => detector.missed_beat(begun),
        Sign::Stopped => detector.stopped(true, begun),
    }
    detector
}

fn idle(now: Instant) -> (Cpu, Instant) {
    (Cpu { seconds: 0.0, is_wanted: false }, now)
}

/// Returns the time at which the action comes, sampled four times a second for at most two minutes.
fn verdict_after(
    detector: &mut HangDetector,
    begun: Instant,
    clients_wait: bool,
    cpu: impl Fn(Duration) -> Cpu,
) -> Option<(HangAction, Duration)> {
    let (config, idle_timeout) = (Health::default(), 90 * SECOND);
    (0..480).map(|step| begun + STEP * step).find_map(|now| {
        detector.used(cpu(now - begun), now);
        let action = detector.action(&config, idle_timeout, clients_wait, now)?;
        Some((action, now - begun))
    })
}

fn no_cpu(_: Duration) -> Cpu {
    Cpu { seconds: 0.0, is_wanted: false }
}

fn whole_cpu(after: Duration) -> Cpu {
    Cpu { seconds: after.as_secs_f64(), is_wanted: true }
}

#[test]
fn each_sign_and_service_gives_its_condition() {
    let begun = Instant::now();
    for (sign, in_service, expected) in [
        (Sign::Waiting, Some(0), Condition::Mute),
        (Sign::Waiting, Some(1), Condition::Busy),
        (Sign::Waiting, None, Condition::Busy),
        (Sign::Unanswered, Some(0), Condition::Mute),
        (Sign::Unanswered, Some(8), Condition::Busy),
        (Sign::Unanswered, None, Condition::Busy),
        (Sign::NoBeat, Some(0), Condition::Mute),
        (Sign::NoBeat, Some(1), Condition::Busy),
        (Sign::NoBeat, None, Condition::Busy),
        (Sign::Stopped, Some(0), Condition::Stopped),
        (Sign::Stopped, Some(1), Condition::Stopped),
        (Sign::Stopped, None, Condition::Stopped),
    ] {
        let detector = worker(sign, in_service, begun);
        assert_eq!(detector.condition(begun + SECOND), expected, "{sign:?}, in service: {in_service:?}");
    }
    let quiet = HangDetector::default();
    assert_eq!(quiet.condition(begun + SECOND), Condition::Well);
    assert_eq!(worker(Sign::Waiting, Some(0), begun).condition(begun + STEP), Condition::Well, "not for long enough");
}

#[test]
fn each_condition_leads_to_its_action_after_its_timeout() {
    let (begun, config) = (Instant::now(), Health::default());
    let soon = |action: Option<(HangAction, Duration)>, bound: Duration| {
        let (action, after) = action.expect("an action");
        assert!(after >= bound && after <= bound + 2 * SECOND, "{after:?}, not {bound:?}");
        action
    };
    for sign in [Sign::Waiting, Sign::Unanswered, Sign::NoBeat] {
        let of = |in_service, clients_wait, cpu: fn(Duration) -> Cpu| {
            verdict_after(&mut worker(sign, in_service, begun), begun, clients_wait, cpu)
        };
        assert_eq!(soon(of(Some(0), true, no_cpu), config.hang_timeout), HangAction::Kill, "{sign:?}");
        assert_eq!(soon(of(Some(0), true, whole_cpu), config.busy_timeout), HangAction::Kill, "{sign:?} computes");
        for in_service in [Some(1), None] {
            for cpu in [no_cpu, whole_cpu] {
                let busy = of(in_service, true, cpu);
                assert_eq!(soon(busy, config.busy_timeout), HangAction::Replace, "{sign:?} while clients wait");
                let alone = of(in_service, false, cpu);
                assert_eq!(soon(alone, 90 * SECOND), HangAction::Replace, "{sign:?}, no client waits: idle-timeout");
            }
        }
    }
    for in_service in [Some(0), Some(1), None] {
        let mut stopped = worker(Sign::Stopped, in_service, begun);
        assert_eq!(soon(verdict_after(&mut stopped, begun, false, no_cpu), config.hang_timeout), HangAction::Kill);
    }
}

#[test]
fn progress_restarts_the_clock() {
    let (begun, config) = (Instant::now(), Health::default());
    for in_service in [Some(0), Some(1), None] {
        let mut detector = worker(Sign::Unanswered, in_service, begun);
        for step in 1..480 {
            let now = begun + STEP * step;
            let (cpu, _) = idle(now);
            detector.used(cpu, now);
            // It takes a client every two seconds, and more wait.
            detector.saw(ProgressSample { waiting: 3, in_service, has_moved: step % 8 == 0 }, now);
            assert_eq!(detector.action(&config, 600 * SECOND, true, now), None, "too much work is no hang");
        }
    }
}

#[test]
fn worker_stopped_and_continued_repeatedly_is_not_killed() {
    let (begun, config) = (Instant::now(), Health::default());
    for (half_a_cpu, moves) in [(true, false), (false, true)] {
        let mut detector = worker(Sign::Stopped, Some(1), begun);
        for step in 0..480 {
            let now = begun + STEP * step;
            // Each sample happens to see it stopped.
            detector.stopped(true, now);
            detector.saw(ProgressSample { waiting: 0, in_service: Some(1), has_moved: moves }, now);
            let seconds = if half_a_cpu { (now - begun).as_secs_f64() / 2.0 } else { 0.0 };
            detector.used(Cpu { seconds, is_wanted: false }, now);
            assert_eq!(detector.action(&config, 600 * SECOND, true, now), None);
        }
    }
}

#[test]
fn taken_client_ends_the_sign() {
    let (mut detector, begun) = (HangDetector::default(), Instant::now());
    let mut see = |waiting, has_moved, seconds| {
        let now = begun + SECOND * seconds;
        detector.saw(ProgressSample { waiting, in_service: Some(0), has_moved }, now);
        detector.condition(now)
    };
    assert_eq!([see(3, false, 0), see(5, false, 1)], [Condition::Well, Condition::Mute]);
    assert_eq!(see(4, true, 2), Condition::Well, "one was taken");
    assert_eq!(see(4, false, 3), Condition::Mute);
    assert_eq!(see(0, false, 4), Condition::Well);
}

#[test]
fn worker_that_just_finished_a_client_has_time_to_answer_checks() {
    let begun = Instant::now();
    for sign in [Sign::Unanswered, Sign::NoBeat] {
        let mut detector = worker(sign, Some(1), begun);
        assert_eq!(detector.condition(begun + SECOND), Condition::Busy, "{sign:?}");
        let done = begun + 20 * SECOND;
        detector.saw(ProgressSample { waiting: 0, in_service: Some(0), has_moved: true }, done);
        assert_eq!(detector.condition(done + STEP), Condition::Well, "{sign:?}");
        assert_eq!(detector.condition(done + SECOND), Condition::Mute, "{sign:?}");
    }
}

#[test]
fn end_of_service_restarts_the_clock_of_a_mute_worker() {
    let (begun, config) = (Instant::now(), Health::default());
    let mut detector = worker(Sign::Waiting, Some(1), begun);
    let gone = begun + 20 * SECOND;
    detector.used(no_cpu(SECOND), begun + SECOND);
    detector.saw(ProgressSample { waiting: 1, in_service: Some(0), has_moved: false }, gone);
    assert_eq!(detector.condition(gone), Condition::Mute, "a client waits and it takes none");
    let action = |now| detector.action(&config, 600 * SECOND, true, now);
    assert_eq!(action(gone + SECOND), None, "the client that it served has just left");
    assert_eq!(action(gone + config.hang_timeout), Some(HangAction::Kill));
}

#[test]
fn timeout_of_zero_is_not_replaced_by_the_other() {
    let begun = Instant::now();
    let no_hang = Health { hang_timeout: Duration::ZERO, ..Health::default() };
    let no_busy = Health { busy_timeout: Duration::ZERO, ..Health::default() };
    let never = |config: &Health, sign, in_service, cpu: fn(Duration) -> Cpu| {
        let mut detector = worker(sign, in_service, begun);
        for now in (0..4_800).map(|step| begun + STEP * step) {
            detector.used(cpu(now - begun), now);
            assert_eq!(detector.action(config, 90 * SECOND, true, now), None, "{sign:?}, {in_service:?}");
        }
    };
    never(&no_hang, Sign::Waiting, Some(0), no_cpu);
    never(&no_hang, Sign::Stopped, Some(1), no_cpu);
    never(&no_busy, Sign::Waiting, Some(0), whole_cpu);
    never(&no_busy, Sign::Waiting, Some(1), no_cpu);
    let mut alone = worker(Sign::Unanswered, Some(1), begun);
    for now in (0..4_800).map(|step| begun + STEP * step) {
        alone.used(no_cpu(now - begun), now);
        assert_eq!(alone.action(&Health::default(), Duration::ZERO, false, now), None, "idle-timeout is off");
    }
    let mut computes = worker(Sign::Unanswered, Some(0), begun);
    let found = (0..480).map(|step| begun + STEP * step).find_map(|now| {
        computes.used(whole_cpu(now - begun), now);
        computes.action(&no_hang, 90 * SECOND, true, now)
    });
    assert_eq!(found, Some(HangAction::Kill), "the other bound still holds");
}

#[test]
fn pause_of_the_master_is_no_sign_against_a_worker() {
    let (begun, config) = (Instant::now(), Health::default());
    for sign in [Sign::Waiting, Sign::Unanswered, Sign::NoBeat, Sign::Stopped] {
        let mut detector = worker(sign, Some(0), begun);
        detector.used(no_cpu(SECOND), begun + SECOND);
        let resumed = begun + 60 * SECOND;
        detector.forgive(resumed);
        detector.used(no_cpu(SECOND), resumed);
        assert_eq!(detector.action(&config, 600 * SECOND, true, resumed), None, "{sign:?}");
    }
    let mut beats = HangDetector::default();
    beats.beat(begun);
    beats.forgive(begun + 60 * SECOND);
    assert_eq!(beats.next_beat(&config), Some(begun + 60 * SECOND + config.heartbeat));
}

#[test]
fn heartbeat_is_expected_only_after_a_first_one() {
    let (mut detector, now, config) = (HangDetector::default(), Instant::now(), Health::default());
    assert_eq!(detector.next_beat(&config), None);
    detector.beat(now);
    assert_eq!(detector.next_beat(&config), Some(now + config.heartbeat));
    detector.missed_beat(now + SECOND);
    assert_eq!(detector.next_beat(&config), None, "known to be silent");
    detector.beat(now + SECOND);
    assert_eq!(detector.condition(now + SECOND), Condition::Well);
    assert_eq!(detector.next_beat(&Health { heartbeat: Duration::ZERO, ..config }), None, "off");
}

#[test]
fn waiting_for_cpu_counts_as_using_it() {
    let (begun, config) = (Instant::now(), Health::default());
    let starved = |_: Duration| Cpu { seconds: 0.0, is_wanted: true };
    let mut detector = worker(Sign::Unanswered, Some(0), begun);
    let (action, after) = verdict_after(&mut detector, begun, true, starved).expect("an action");
    assert_eq!((action, after), (HangAction::Kill, config.busy_timeout));
}
