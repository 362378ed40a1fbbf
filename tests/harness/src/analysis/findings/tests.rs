//! Findings of planted reports: each real difference is reported, and no other.

use super::super::{Analysis, LEAST_REPETITIONS, Metric, Verdict, analyse, sample};
use crate::analysis::planted::{Level, Planted};
use crate::record::{Report, Skipped};

fn texts(analysis: &Analysis, is_warning: bool) -> Vec<String> {
    let wanted = analysis.findings.iter().filter(|finding| finding.is_warning == is_warning);
    wanted.map(|finding| format!("{}: {}", finding.scenario.as_deref().unwrap_or("-"), finding.text)).collect()
}

/// Two scenarios without an event and one with; only least-waiting, haproxy and direct are not like the others.
fn planted(repeat: usize) -> Planted {
    let mut planted = Planted::new(1, repeat);
    planted.noise = 0.001;
    for way in ["direct", "round-robin", "p2c", "least-waiting", "haproxy"] {
        let rps = if way == "direct" { 2400.0 } else { 2000.0 };
        let balancer_cpu = if way == "haproxy" { 28e-6 } else { 14e-6 };
        let level = Level { rps, balancer_cpu, ..Level::default() };
        planted.cell("uniform", way, level);
        let p99 = if way == "least-waiting" { 0.01 } else { 0.04 };
        planted.cell("slow-one", way, Level { p99, ..level });
        if way != "direct" {
            let (errors, bad) = if way == "haproxy" { (8, 25) } else { (0, 2) };
            planted.event_cell("kill", way, Level { errors, ..level }, bad);
        }
    }
    planted
}

#[test]
fn planted_report_gives_these_sentences_and_no_other() {
    let analysis = analyse(&planted(5).report());
    let expected = [
        "-: least-waiting had the lowest p99 in 1 of 2 scenarios (slow-one); in uniform no difference in p99 was found \
         between round-robin, p2c, least-waiting and haproxy.",
        "-: In uniform and slow-one no difference in rps was found between round-robin, p2c, least-waiting and haproxy.",
        "-: With round-robin, p2c and least-waiting no request failed in kill.",
        "uniform: No request failed.",
        "uniform: rps: higher than round-robin's 2,000/s with direct (1.20 times, 95 % 1.20 to 1.20); no difference found \
         with p2c, least-waiting and haproxy.",
        "uniform: p99: no difference from round-robin's 40.1 ms found with any other way.",
        "uniform: CPU per answer: higher than round-robin's 300 us with haproxy (1.05 times, 95 % 1.05 to 1.05); \
         no difference found with direct, p2c and least-waiting.",
        "uniform: direct answers more since its connections have a hop less, and generator, balancer and workers share \
         the 2 cores, so that more workers need not bring more.",
        "slow-one: No request failed.",
        "slow-one: least-waiting had the lowest p99, 10 ms (round-robin 40 ms).",
        "slow-one: rps: higher than round-robin's 2,000/s with direct (1.20 times, 95 % 1.20 to 1.20); no difference found \
         with p2c, least-waiting and haproxy.",
        "slow-one: p99: lower than round-robin's 40 ms with least-waiting (0.25 times, 95 % 0.25 to 0.25); no difference \
         found with direct, p2c and haproxy.",
        "slow-one: CPU per answer: higher than round-robin's 300 us with haproxy (1.05 times, 95 % 1.05 to 1.05); \
         no difference found with direct, p2c and least-waiting.",
        "slow-one: direct answers more since its connections have a hop less, and generator, balancer and workers share \
         the 2 cores, so that more workers need not bring more.",
        "kill: Failed requests in all repetitions: haproxy 40; none with any other way.",
        "kill: longest gap: longer than round-robin's 200 ms with haproxy (12.5 times, 95 % 12.5 to 12.5); no difference \
         found with p2c and least-waiting.",
        "kill: recovery: longer than round-robin's 200 ms with haproxy (12.5 times, 95 % 12.5 to 12.5); no difference \
         found with p2c and least-waiting.",
        "kill: Not recovered at the end of a repetition: haproxy in 5 of 5.",
    ];
    assert_eq!(texts(&analysis, false), expected);
    assert_eq!(texts(&analysis, true), [""; 0]);
}

#[test]
fn too_few_repetitions_give_no_verdict_and_a_note() {
    let analysis = analyse(&planted(3).report());
    let said = texts(&analysis, false);
    assert!(said.iter().all(|text| !text.contains("difference") && !text.contains("est p99")), "{said:#?}");
    assert!(said.iter().any(|text| text.contains("Failed requests in all repetitions")), "figures are: {said:#?}");
    assert_eq!(texts(&analysis, true), ["-: 3 repetitions: medians are shown, no verdict is given; it needs 5."]);
    let verdicts = analysis.cells.iter().flat_map(|cell| cell.metrics.values().map(|result| result.verdict));
    assert!(verdicts.clone().count() > 0);
    assert!(verdicts.into_iter().all(|verdict| matches!(verdict, Verdict::TooFew | Verdict::Reference)));
}

#[test]
fn warnings_name_each_defect_of_the_measurement() {
    let mut report = planted(5).report();
    report.is_partial = true;
    report.environment.load_before = [1.94, 1.0, 0.5];
    report.skipped.push(Skipped { way: Some("pm2".into()), scenario: None, why: "it is not installed.".into() });
    for one in &mut report.repetitions {
        match (one.scenario.as_str(), one.way.as_str(), one.number) {
            ("uniform", "p2c", 2) => one.phases[0].cpu.generator = 4.15,
            ("uniform", "haproxy", 1) => one.failure = Some("haproxy did not start".into()),
            ("slow-one", "round-robin", 0) => one.phases[2].not_started = 12,
            ("kill", "haproxy", 0) => {
                one.phases[0].event.as_mut().unwrap().failure = Some("no such worker".into());
            }
            _ => {}
        }
    }
    let analysis = analyse(&report);
    assert_eq!(
        texts(&analysis, true),
        [
            "-: The comparison was interrupted: the rest of the plan is missing.",
            "-: pm2 was skipped: it is not installed.",
            "-: Before the start the machine had a load of 1.9 on 2 cores: something else was running.",
            "uniform: haproxy has 4 repetitions only: no verdict is given; it needs 5.",
            "uniform: The generator used up to 83 % of a core with p2c: rps there may be the generator's limit, not the \
             server's.",
            "slow-one: 12 requests due with round-robin could not be started, since too many were under way or this \
             machine had no port or descriptor left: latency and \
             errors there are worse than they look.",
            "kill: The kill of haproxy failed in 1 of 5 repetitions: no such worker.",
            "uniform: Repetition 2 of haproxy failed and does not count: haproxy did not start.",
        ]
    );
    let limited = |scenario: &str, way: &str| analysis.cell(scenario, way).unwrap().generator_limited.clone();
    assert_eq!(limited("uniform", "p2c"), [Metric::Rps]);
    let of_open = [Metric::P50, Metric::P90, Metric::P99, Metric::Errors];
    assert_eq!(limited("slow-one", "round-robin"), of_open);
    assert_eq!(limited("uniform", "haproxy"), []);
    assert_eq!(analysis.cell("uniform", "haproxy").unwrap().repetitions, 4);
}

#[test]
fn stolen_time_of_a_hypervisor_is_named() {
    let mut report = planted(5).report();
    let told = |report: &Report| analyse(report).findings.into_iter().find(|one| one.text.contains("hypervisor"));
    assert_eq!(told(&report), None);
    let phase = &mut report.repetitions[0].phases[0];
    phase.cpu.stolen = phase.seconds * report.environment.cores as f64 * 0.25;
    let found = told(&report).unwrap();
    assert!(found.is_warning && found.text.starts_with("In 1 of ") && found.text.contains("up to 25 %"), "{found:?}");
}

#[test]
fn metric_with_many_ways_has_one_sentence_against_the_reference() {
    let mut planted = Planted::new(1, 5);
    planted.noise = 0.001;
    let all =
        ["round-robin", "random", "p2c", "least-connections", "least-waiting", "hash", "unix", "shared", "haproxy"];
    for (i, way) in all.into_iter().enumerate() {
        let p99 = [0.04, 0.04, 0.01, 0.012, 0.01, 0.04, 0.04, 0.04, 0.08][i];
        planted.cell("slow-one", way, Level { p99, ..Level::default() });
        planted.event_cell("kill", way, Level { errors: [0, 3][i % 2], ..Level::default() }, 0);
    }
    let said = texts(&analyse(&planted.report()), false);
    let of_scenario: Vec<_> = said.iter().filter(|text| !text.starts_with("-: ")).collect();
    assert_eq!(
        of_scenario,
        [
            "slow-one: No request failed.",
            "slow-one: p2c (10 ms) and least-waiting (10 ms) had the lowest p99, and no difference was found between them.",
            "slow-one: rps: no difference from round-robin's 2,000/s found with any other way.",
            "slow-one: p99: lower than round-robin's 40 ms with p2c, least-connections and least-waiting (0.25 to 0.30 \
             times); higher with haproxy (2.00 times, 95 % 2.00 to 2.00); no difference found with the 4 others.",
            "slow-one: CPU per answer: no difference from round-robin's 300 us found with any other way.",
            "kill: Failed requests in all repetitions: random 15, least-connections 15, hash 15, shared 15; none with any \
             other way.",
        ]
    );
}

#[test]
fn closed_loop_without_an_answer_is_said_to_say_nothing() {
    let mut report = planted(5).report();
    for one in report.repetitions.iter_mut().filter(|one| one.scenario == "uniform" && one.way == "p2c") {
        one.phases[0].done = 0;
    }
    let expected = "uniform: The closed loop was over before anything was answered with p2c: rps there says nothing; it \
                    takes a longer --duration, or fewer --connections.";
    assert_eq!(texts(&analyse(&report), true), [expected]);
}

/// Ways of random levels, some of them alike, with random noise and drift.
fn random(seed: u64) -> Report {
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut planted = Planted::new(seed, 5);
    (planted.noise, planted.drift) = (0.08 * rng.f64(), 0.4 * rng.f64());
    for scenario in ["uniform", "mixed"] {
        for way in ["direct", "round-robin", "p2c", "random", "haproxy"] {
            let mut about = |level: f64, step: f64| level * (1.0 + step * f64::from(rng.u8(..3)));
            let (rps, p99, balancer_cpu) = (about(2000.0, 0.1), about(0.02, 0.2), about(14e-6, 0.1));
            planted.cell(scenario, way, Level { rps, p99, balancer_cpu, errors: u64::from(rng.u8(..2)) });
        }
    }
    planted.report()
}

/// Returns true if the names behind `with` have that one.
fn is_named(clause: &str, way: &str) -> bool {
    let names = clause.split_once(" with ").map_or("", |(_, names)| names);
    names.split([' ', ',', '.']).any(|word| word == way)
}

#[test]
fn no_sentence_says_more_than_the_verdicts() {
    let mut checked = [0; 3];
    for seed in 0..12 {
        let report = random(seed);
        let analysis = analyse(&report);
        let samples = sample::samples(&report);
        let of = |scenario: &str, way: &str| {
            let found = samples.iter().find(|sample| sample.scenario.name == scenario && sample.way.name == way);
            found.unwrap_or_else(|| panic!("{way} in {scenario}"))
        };
        for finding in &analysis.findings {
            let Some(scenario) = finding.scenario.as_deref() else { continue };
            let text = finding.text.as_str();
            // "METRIC: higher than REFERENCE's VALUE with NAMES (...); no difference found with NAMES": of each way as
            // the cell's verdict has it, and of no way nothing.
            for metric in [Metric::Rps, Metric::P99, Metric::Cpu] {
                let Some(told) = text.strip_prefix(&format!("{}: ", super::words::name(metric))) else { continue };
                for cell in analysis.cells.iter().filter(|cell| cell.scenario == scenario && cell.way != "round-robin")
                {
                    let Some(verdict) = cell.metrics.get(&metric).map(|result| result.verdict) else { continue };
                    let clause = told.split("; ").find(|clause| is_named(clause, &cell.way));
                    match (clause.unwrap_or("any other"), verdict) {
                        (clause, Verdict::Different { ratio, .. }) => {
                            let word = if ratio < 1.0 { "lower" } else { "higher" };
                            assert!(clause.starts_with(word), "{text}: {} is {verdict:?}", cell.way);
                            checked[0] += 1;
                        }
                        ("any other", Verdict::NoDifference) => {
                            let is_told = ["with any other way.", " others."].iter().any(|end| told.ends_with(end));
                            assert!(is_told, "{text}: {}", cell.way);
                            checked[1] += 1;
                        }
                        (clause, _) => {
                            assert!(clause.starts_with("no difference"), "{text}: {} is {verdict:?}", cell.way);
                            checked[1] += 1;
                        }
                    }
                }
            }
            // "NAMES had the lowest METRIC": each of them is better than all that are not named.
            for (metric, words) in [(Metric::P99, " had the lowest p99"), (Metric::Rps, " had the highest rps")] {
                let Some((winners, _)) = text.split_once(words) else { continue };
                let all = ["round-robin", "p2c", "random", "haproxy"];
                let (winners, others): (Vec<&str>, Vec<&str>) =
                    all.into_iter().partition(|way| winners.split([' ', ',']).any(|word| word == *way));
                assert!(!winners.is_empty() && !others.is_empty(), "{text}");
                for winner in &winners {
                    for other in &others {
                        let verdict = of(scenario, winner).against(of(scenario, other), metric).unwrap();
                        assert!(verdict.is_better(), "{text}: {winner} and {other} are {verdict:?}");
                        checked[2] += 1;
                    }
                }
            }
        }
    }
    assert!(checked.iter().all(|count| *count > 50), "{checked:?} with {LEAST_REPETITIONS} repetitions each");
}

#[test]
fn equal_best_ways_are_named_together() {
    let mut planted = Planted::new(1, 5);
    for (way, p99) in [("round-robin", 0.04), ("p2c", 0.0101), ("least-waiting", 0.01)] {
        planted.cell("slow-one", way, Level { p99, ..Level::default() });
    }
    let said = texts(&analyse(&planted.report()), false);
    let expected = "-: In slow-one p2c and least-waiting had the lowest p99, and no difference was found between them.";
    assert_eq!(said.first().map(String::as_str), Some(expected), "{said:#?}");
}

#[test]
fn overlapping_neighbours_leave_no_single_best_way() {
    // 8 % between neighbours are no difference in p99, 16 % are one.
    let mut planted = Planted::new(1, 5);
    planted.noise = 0.001;
    for (way, p99) in [("round-robin", 0.0232), ("p2c", 0.0216), ("least-waiting", 0.02), ("random", 0.0215)] {
        planted.cell("uniform", way, Level { p99, ..Level::default() });
    }
    let said = texts(&analyse(&planted.report()), false);
    assert_eq!(said.first().map(String::as_str), Some("-: In uniform no single way had the lowest p99."), "{said:#?}");
}

#[test]
fn every_sentence_ends_with_one_full_stop() {
    for report in (20..23).map(random).chain([planted(5).report(), planted(3).report()]) {
        for finding in analyse(&report).findings {
            assert!(finding.text.ends_with('.') && !finding.text.ends_with(".."), "{}", finding.text);
        }
    }
}
