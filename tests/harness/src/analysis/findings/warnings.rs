//! Warnings that a reader should know before trusting the figures. Pure.

use super::words::{count, list, sentence};
use super::{Finding, finding};
use crate::analysis::sample::{Limit, Sample};
use crate::analysis::{LEAST_REPETITIONS, Metric};
use crate::record::{Phase, Report};

/// The load average for each core before the start above which something else was running.
const BUSY: f64 = 0.5;

/// The part of all processors that may be stolen without a warning.
const STOLEN: f64 = 0.02;

/// Returns the warnings about the whole, then those about cells.
pub(super) fn findings(report: &Report, samples: &[Sample<'_>]) -> Vec<Finding> {
    let mut findings: Vec<Finding> = whole(report).iter().map(|text| finding(None, true, sentence(text))).collect();
    for scenario in &report.scenarios {
        let samples: Vec<_> = samples.iter().filter(|sample| sample.scenario.name == scenario.name).collect();
        let texts = [few(report, &samples), unanswered(&samples), limits(&samples), event_failures(&samples)].concat();
        findings.extend(texts.iter().map(|text| finding(Some(&scenario.name), true, sentence(text))));
    }
    findings.extend(failures(report));
    findings
}

fn whole(report: &Report) -> Vec<String> {
    let mut texts = Vec::new();
    if report.is_partial {
        texts.push("The comparison was interrupted: the rest of the plan is missing".into());
    }
    let repeat = report.method.repeat;
    if repeat < LEAST_REPETITIONS {
        let repetitions = count(repeat, "repetition");
        texts.push(format!("{repetitions}: medians are shown, no verdict is given; it needs {LEAST_REPETITIONS}"));
    }
    for skipped in &report.skipped {
        let what = match (&skipped.way, &skipped.scenario) {
            (Some(way), Some(scenario)) => format!("{way} in {scenario}"),
            (Some(one), None) | (None, Some(one)) => one.clone(),
            (None, None) => "All".into(),
        };
        texts.push(format!("{what} was skipped: {}", skipped.why));
    }
    let (load, cores) = (report.environment.load_before[0], report.environment.cores);
    if load > BUSY * cores.max(1) as f64 {
        let cores = count(cores, "core");
        texts.push(format!(
            "Before the start the machine had a load of {load:.1} on {cores}: something else was running"
        ));
    }
    texts.extend(theft(report));
    texts
}

/// Counts measurements during which another machine on the same host used the processors.
fn theft(report: &Report) -> Option<String> {
    let phases: Vec<_> = report.repetitions.iter().flat_map(|one| &one.phases).collect();
    let cores = report.environment.cores.max(1) as f64;
    let share = |phase: &Phase| if phase.seconds > 0.0 { phase.cpu.stolen / (phase.seconds * cores) } else { 0.0 };
    let robbed = phases.iter().filter(|phase| share(phase) > STOLEN).count();
    let most = phases.iter().map(|phase| share(phase)).fold(0.0, f64::max);
    (robbed > 0).then(|| {
        format!(
            "In {robbed} of {} measurements the hypervisor gave more than {:.0} % of the processors to others, up to {:.0} %: \
             what was slow then was not the server",
            phases.len(),
            STOLEN * 100.0,
            most * 100.0
        )
    })
}

/// Names ways with too few repetitions, although the plan has enough.
fn few(report: &Report, samples: &[&Sample<'_>]) -> Vec<String> {
    if report.method.repeat < LEAST_REPETITIONS {
        return Vec::new();
    }
    let lacking = samples.iter().filter(|sample| sample.repetitions < LEAST_REPETITIONS);
    lacking
        .map(|sample| {
            let (way, repetitions) = (&sample.way.name, count(sample.repetitions, "repetition"));
            format!("{way} has {repetitions} only: no verdict is given; it needs {LEAST_REPETITIONS}")
        })
        .collect()
}

/// Names ways whose closed loop ended before any answer came: this is not a saturation of 0.
fn unanswered(samples: &[&Sample<'_>]) -> Vec<String> {
    let is_0 = |sample: &&&Sample<'_>| sample.estimate(Metric::Rps).is_some_and(|rps| rps.median == 0.0);
    let ways = list(samples.iter().filter(is_0).map(|sample| sample.way.name.as_str()));
    if ways.is_empty() {
        return Vec::new();
    }
    vec![format!(
        "The closed loop was over before anything was answered with {ways}: rps there says nothing; it takes a longer \
         --duration, or fewer --connections"
    )]
}

fn limits(samples: &[&Sample<'_>]) -> Vec<String> {
    type Of = fn(&Sample<'_>) -> Limit;
    let loops: [(Of, &str); 2] =
        [(|sample| sample.closed, "rps there may be"), (|sample| sample.open, "latency there may be")];
    let mut texts = Vec::new();
    for (of, what) in loops {
        let busy: Vec<_> = samples.iter().filter(|sample| of(sample).is_busy()).collect();
        let most = busy.iter().map(|sample| of(sample).share).fold(0.0, f64::max);
        if !busy.is_empty() {
            let ways = list(busy.iter().map(|sample| sample.way.name.as_str()));
            texts.push(format!(
                "The generator used up to {:.0} % of a core with {ways}: {what} the generator's limit, not the server's",
                most * 100.0
            ));
        }
    }
    for sample in samples {
        let not_started = sample.closed.not_started + sample.open.not_started;
        if not_started > 0 {
            let (requests, way) =
                (count(usize::try_from(not_started).unwrap_or(usize::MAX), "request"), &sample.way.name);
            texts.push(format!(
                "{requests} due with {way} could not be started, since too many were under way or this machine had no port or \
                 descriptor left: latency and errors there are worse than they look"
            ));
        }
    }
    texts
}

fn event_failures(samples: &[&Sample<'_>]) -> Vec<String> {
    let failed = samples.iter().filter_map(|sample| Some((sample, sample.event_failures.first()?)));
    failed
        .map(|(sample, first)| {
            let (times, event) = (sample.event_failures.len(), sample.scenario.event.as_deref().unwrap_or("event"));
            let (way, repetitions) = (&sample.way.name, count(sample.repetitions, "repetition"));
            format!("The {event} of {way} failed in {times} of {repetitions}: {first}")
        })
        .collect()
}

/// Names repetitions that ended early.
fn failures(report: &Report) -> Vec<Finding> {
    let failed = report.repetitions.iter().filter_map(|one| Some((one, one.failure.as_deref()?)));
    failed
        .map(|(one, why)| {
            let text = format!("Repetition {} of {} failed and does not count: {why}", one.number + 1, one.way);
            finding(Some(&one.scenario), true, sentence(&text))
        })
        .collect()
}
