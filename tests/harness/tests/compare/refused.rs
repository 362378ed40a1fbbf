//! Mistakes that are known before anything starts are reported before anything starts.

use crate::running::{brief, run, run_with};

/// A program that leaves a file if it is started.
const TELLTALE: [&str; 4] = ["--", "sh", "-c", "touch started; exit 3"];

#[test]
fn name_that_is_none_is_refused_with_those_there_are() {
    let cases: [(&[&str], &[&str]); 7] = [
        (&["--ways", "round-robin,robin"], &["way `robin`", "direct, round-robin", "haproxy"]),
        (&["--scenarios", "uniform,storm"], &["scenario `storm`", "uniform, slow-one", "scale"]),
        (&["--assert", "uniform.round-robin.p98 < 5ms"], &["p98", "p99"]),
        (&["--assert", "uniform.robin.p99 < 5ms"], &["robin", "round-robin"]),
        (&["--assert", "storm.round-robin.p99 < 5ms"], &["storm", "uniform"]),
        (&["--assert", "uniform.round-robin.p99 < 5"], &["5", "ms"]),
        (&["--assert", "kill.direct.errors < 5"], &["direct cannot play kill", "one worker"]),
    ];
    for (flags, expected) in cases {
        let Some(ended) = run(&brief(&[flags, &TELLTALE].concat())) else { return };
        assert_eq!(ended.code, Some(2), "{flags:?}: {}", ended.stderr);
        assert!(expected.iter().all(|part| ended.stderr.contains(part)), "{flags:?}: {}", ended.stderr);
        assert!(!ended.has("started") && !ended.has("out/"), "{flags:?}");
        assert_eq!(ended.stdout, "");
    }
}

#[test]
fn bad_file_is_refused_with_the_place_of_the_mistake() {
    let files = [
        ("half.json", "{\n\"schema\": "),
        ("typo.toml", "[scenario.cart]\nevnt = \"kill\"\nrequests = [{ path = \"/\" }]\n"),
    ];
    let cases: [(&[&str], &[&str]); 4] = [
        (&["--baseline", "no.json"], &["no.json", "No such file"]),
        (&["--baseline", "half.json"], &["half.json", "line 2 column"]),
        (&["--scenario-file", "no.toml"], &["no.toml", "No such file"]),
        (&["--scenario-file", "typo.toml"], &["typo.toml", "line 2, column 1", "evnt"]),
    ];
    for (flags, expected) in cases {
        let Some(ended) = run_with(&files, &brief(&[flags, &TELLTALE].concat())) else { return };
        assert_eq!(ended.code, Some(2), "{flags:?}: {}", ended.stderr);
        assert!(expected.iter().all(|part| ended.stderr.contains(part)), "{flags:?}: {}", ended.stderr);
        assert!(!ended.has("started"), "{flags:?}");
    }
}

#[test]
fn unwritable_folder_is_found_before_measuring() {
    for (out, expected) in [("taken", "File exists"), ("taken/below", "Not a directory"), ("/proc/self", "/proc/self")]
    {
        let flags = brief(&[&["--out", out], &TELLTALE[..]].concat());
        let Some(ended) = run_with(&[("taken", "")], &flags) else { return };
        assert_eq!(ended.code, Some(1), "{out}: {}", ended.stderr);
        assert!(ended.stderr.contains(expected) && ended.stderr.contains("--out"), "{out}: {}", ended.stderr);
        assert!(!ended.has("started"), "{out}");
    }
}

#[test]
fn list_names_all_there_is_and_starts_nothing() {
    let own = "[scenario.cart]\nabout = \"mostly the cart\"\nrequests = [{ path = \"/\" }]\n";
    let flags = [&["--list", "--scenario-file", "own.toml"], &TELLTALE[..]].concat();
    let Some(ended) = run_with(&[("own.toml", own)], &brief(&flags)) else { return };
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
    for name in ["direct", "round-robin", "handoff", "haproxy", "uniform", "kill", "cart"] {
        let line = ended.stdout.lines().find(|line| line.split_whitespace().next() == Some(name));
        assert!(line.is_some_and(|line| line.split_whitespace().count() > 2), "{name}:\n{}", ended.stdout);
    }
    assert!(!ended.has("started") && !ended.has("out/"));
}

#[test]
fn telltale_shows_that_a_program_was_started() {
    let Some(ended) = run(&brief(&[&["--ways", "direct", "--scenarios", "uniform"], &TELLTALE[..]].concat())) else {
        return;
    };
    assert!(ended.has("started"), "{}", ended.stderr);
}
