use super::*;
use crate::analysis::analyse;
use crate::report::chart::well_formed;
use crate::report::planted::{WAYS, planted};

/// The pictures of a page.
fn pictures(page: &str) -> Vec<&str> {
    let starts = page.match_indices("<svg").map(|(at, _)| at);
    starts.map(|at| &page[at..at + page[at..].find("</svg>").unwrap() + 6]).collect()
}

#[test]
fn every_picture_is_well_formed_and_says_what_it_is() {
    let (report, analysis) = planted();
    let page = html(&report, &analysis).unwrap();
    let pictures = pictures(&page);
    // Four for each scenario without an event; one for each way in a scenario with an event.
    assert_eq!(pictures.len(), 3 * 4 + 2 * WAYS.len());
    for picture in pictures {
        well_formed::check(picture).unwrap_or_else(|wrong| panic!("{wrong}: {picture}"));
        assert!(picture.contains("role=\"img\"") && picture.contains("<title>") && picture.contains("<desc>"));
    }
}

#[test]
fn every_way_is_named_in_every_chart() {
    let (report, analysis) = planted();
    let view = View { report: &report, analysis: &analysis };
    for scenario in &report.scenarios {
        let section = section(view, scenario);
        assert!(!section.figures.is_empty());
        for figure in &section.figures {
            for (name, _) in WAYS {
                // One worker alone has no shares to show.
                let is_there = figure.charts.iter().any(|chart| chart.contains(&format!(">{name}</text>")));
                assert!(is_there || name == "direct", "{name} in {}", figure.title);
            }
        }
    }
}

#[test]
fn numbers_of_a_chart_are_those_of_its_table() {
    let (report, analysis) = planted();
    let view = View { report: &report, analysis: &analysis };
    let mut compared = 0;
    for scenario in report.scenarios.iter().filter(|scenario| scenario.event.is_none()) {
        for figure in figures::figures(view, scenario) {
            for row in &figure.table.rows {
                let shown = row.iter().skip(1).filter(|cell| figure.charts[0].contains(cell.as_str())).count();
                assert!(shown >= 1, "{row:?} in {}", figure.title);
                compared += shown;
            }
        }
    }
    assert!(compared > 300, "{compared}");
}

#[test]
fn nothing_is_loaded_and_nothing_runs() {
    let (report, analysis) = planted();
    let page = html(&report, &analysis).unwrap();
    let own = page.replace("http://www.w3.org/2000/svg", "");
    for forbidden in ["http://", "https://", "<script", "url(", "@import", "src=", "<link", "javascript:", " on"] {
        let is_word = forbidden == " on";
        let found = if is_word { own.contains(" onclick") || own.contains(" onload") } else { own.contains(forbidden) };
        assert!(!found, "{forbidden}");
    }
    for broken in ["NaN", "inf\"", "undefined", "Infinity"] {
        assert!(!page.contains(broken), "{broken}");
    }
    assert!(page.contains("default-src 'none'"));
}

#[test]
fn foreign_text_is_escaped_in_html() {
    let (mut report, _) = planted();
    let bad = "<script>alert(1)</script>\"'&";
    report.ways[3].name = bad.to_owned();
    report.ways[3].about = bad.to_owned();
    report.scenarios[0].about = bad.to_owned();
    report.environment.command.push(bad.to_owned());
    report.environment.programs.insert(bad.to_owned(), bad.to_owned());
    report.skipped[0].why = bad.to_owned();
    for one in report.repetitions.iter_mut().filter(|one| one.way == WAYS[3].0) {
        one.way = bad.to_owned();
    }
    report.repetitions[0].failure = Some(bad.to_owned());
    let mut analysis = analyse(&report);
    analysis.findings[0].text = bad.to_owned();
    let page = html(&report, &analysis).unwrap();
    assert!(!page.contains("<script"), "escaped");
    assert!(page.matches("script&").count() + page.matches("script&#").count() > 10, "and still there");
    for picture in pictures(&page) {
        well_formed::check(picture).unwrap();
    }
}

#[test]
fn report_of_nothing_is_a_page_too() {
    let (mut report, _) = planted();
    report.repetitions.clear();
    report.is_partial = true;
    let page = html(&report, &analyse(&report)).unwrap();
    assert!(page.contains("interrupted") && !page.contains("NaN"));
    report.scenarios.clear();
    report.ways.clear();
    html(&report, &Analysis::default()).unwrap();
}

#[test]
fn sixteen_ways_have_room() {
    let (mut report, mut analysis) = planted();
    for extra in 0..4 {
        let name = format!("another-way-with-a-long-name/{extra}");
        let copy = |way: &mut String| *way = name.clone();
        let mut way = report.ways[5].clone();
        copy(&mut way.name);
        report.ways.push(way);
        for mut cell in analysis.cells.clone().into_iter().filter(|cell| cell.way == WAYS[5].0) {
            copy(&mut cell.way);
            analysis.cells.push(cell);
        }
        for mut one in report.repetitions.clone().into_iter().filter(|one| one.way == WAYS[5].0) {
            copy(&mut one.way);
            report.repetitions.push(one);
        }
    }
    let page = html(&report, &analysis).unwrap();
    for picture in pictures(&page) {
        well_formed::check(picture).unwrap();
    }
    assert!(page.contains("class=\"series w15\""));
}
