//! The repetitions as CSV: one row for each phase, with base units in the names. Pure.

use crate::record::{Drive, Phase, Repetition, Report};

const PERCENTS: [(f64, &str); 5] = [
    (50.0, "p50_seconds"),
    (90.0, "p90_seconds"),
    (99.0, "p99_seconds"),
    (99.9, "p999_seconds"),
    (99.99, "p9999_seconds"),
];

/// Writes one row for each way, scenario, repetition and phase; a value that does not apply is empty. A repetition that
/// failed before its first phase has one row with only the failure.
pub fn csv(report: &Report) -> String {
    let mut writer = ::csv::WriterBuilder::new().from_writer(Vec::new());
    for (i, one) in report.repetitions.iter().enumerate() {
        let phases: Vec<Option<&Phase>> =
            if one.phases.is_empty() { vec![None] } else { one.phases.iter().map(Some).collect() };
        for (j, phase) in phases.into_iter().enumerate() {
            let row = row(one, phase);
            // Writing to memory cannot fail, and all rows have the same length.
            if (i, j) == (0, 0) {
                let _ = writer.write_record(row.iter().map(|cell| cell.0));
            }
            let _ = writer.write_record(row.iter().map(|cell| cell.1.as_str()));
        }
    }
    let bytes = writer.into_inner().unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The name of a column and a value.
type Cell = (&'static str, String);

fn row(one: &Repetition, phase: Option<&Phase>) -> Vec<Cell> {
    let text = |of: &dyn Fn(&Phase) -> String| phase.map(of).unwrap_or_default();
    let number = |of: &dyn Fn(&Phase) -> f64| text(&|phase| of(phase).to_string());
    let whole = |of: &dyn Fn(&Phase) -> u64| text(&|phase| of(phase).to_string());
    let event = |of: &dyn Fn(&crate::record::EventRecord) -> String| {
        phase.and_then(|phase| phase.event.as_ref()).map(of).unwrap_or_default()
    };
    let mut row = vec![
        ("scenario", one.scenario.clone()),
        ("way", one.way.clone()),
        ("repetition", one.number.to_string()),
        ("drive", text(&|phase| drive(phase).0.to_owned())),
        ("rate_per_second", text(&|phase| drive(phase).1)),
        ("seconds", number(&|phase| phase.seconds)),
        ("started", whole(&|phase| phase.started)),
        ("done", whole(&|phase| phase.done)),
        ("failed", whole(&|phase| phase.failed())),
        ("not_started", whole(&|phase| phase.not_started)),
        ("done_per_second", number(&|phase| phase.rate())),
        ("mean_seconds", number(&|phase| phase.latency.mean())),
    ];
    row.extend(PERCENTS.map(|(percent, name)| (name, number(&|phase| phase.latency.percentile(percent)))));
    row.extend([
        ("max_seconds", number(&|phase| phase.latency.max())),
        ("lag_p99_seconds", number(&|phase| phase.lag.percentile(99.0))),
        ("answers_bytes", whole(&|phase| phase.bytes)),
        ("workers_that_answered", whole(&|phase| phase.answers.len() as u64)),
        ("cpu_balancer_seconds", number(&|phase| phase.cpu.balancer)),
        ("cpu_workers_seconds", number(&|phase| phase.cpu.workers.values().sum())),
        ("cpu_generator_seconds", number(&|phase| phase.cpu.generator)),
        ("memory_balancer_bytes", whole(&|phase| phase.memory.balancer)),
        ("memory_workers_bytes", whole(&|phase| phase.memory.workers)),
        ("event", event(&|event| event.what.clone())),
        ("event_at_seconds", event(&|event| event.at.to_string())),
        ("event_took_seconds", event(&|event| event.took.map(|took| took.to_string()).unwrap_or_default())),
        ("event_failure", event(&|event| event.failure.clone().unwrap_or_default())),
        ("failure", one.failure.clone().unwrap_or_default()),
    ]);
    row
}

fn drive(phase: &Phase) -> (&'static str, String) {
    match phase.drive {
        Drive::Closed => ("closed", String::new()),
        Drive::Open { rate } => ("open", rate.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::planted::planted;

    #[test]
    fn csv_read_back_has_a_row_for_each_phase() {
        let (mut report, _) = planted();
        let phases: usize = report.repetitions.iter().map(|one| one.phases.len()).sum();
        report.repetitions.push(Repetition {
            scenario: "uniform".into(),
            way: "nginx".into(),
            number: 9,
            phases: vec![],
            failure: Some("line one\n\"quoted\", line two".into()),
        });
        let text = csv(&report);
        let mut reader = ::csv::Reader::from_reader(text.as_bytes());
        let heads = reader.headers().unwrap().clone();
        let rows: Vec<_> = reader.records().map(|row| row.unwrap()).collect();
        assert_eq!(rows.len(), phases + 1);
        let of = |row: &::csv::StringRecord, name: &str| {
            row.get(heads.iter().position(|head| head == name).unwrap()).unwrap().to_owned()
        };
        let first = &report.repetitions[0].phases[0];
        assert_eq!(of(&rows[0], "drive"), "closed");
        assert_eq!(of(&rows[0], "done"), first.done.to_string());
        assert_eq!(of(&rows[0], "p99_seconds").parse::<f64>().unwrap(), first.latency.percentile(99.0));
        assert_eq!(of(&rows[phases], "failure"), "line one\n\"quoted\", line two");
        assert_eq!(of(&rows[phases], "done"), "");
    }
}
