//! Words that were given up do not come back: the tables of `docs/lexicon.md` are the rule.

use crate::tree::{self, SourceFile};

/// A row of one of the tables: the word that was given up, and what is said instead.
struct GivenUp {
    word: String,
    instead: String,
}

/// The rows of the table under the heading `heading` of `docs/lexicon.md`.
fn table(heading: &str) -> Vec<GivenUp> {
    let page = tree::file("docs/lexicon.md");
    let rows = page.lines().map(|(_, line)| line).skip_while(|line| line.trim_start_matches('#').trim() != heading);
    let rows = rows.skip(1).take_while(|line| !line.starts_with('#')).filter(|line| line.starts_with("| `"));
    let rows: Vec<GivenUp> = rows
        .flat_map(|row| {
            let mut cells = row.trim_matches('|').split('|').map(str::trim);
            let words = cells.next().unwrap_or_default().to_owned();
            let instead = cells.next().unwrap_or_default().to_owned();
            let words: Vec<String> = words.split('`').skip(1).step_by(2).map(str::to_owned).collect();
            words.into_iter().map(move |word| GivenUp { word, instead: instead.clone() })
        })
        .collect();
    assert!(!rows.is_empty(), "docs/lexicon.md has no table under `{heading}`");
    rows
}

/// Everything that people read: code, tests, pages, configuration and what starts us.
fn texts() -> Vec<SourceFile> {
    let tops = ["balancer", "worker-runtime", "tests", "docs", "config", "docker", "README.md", "CONTRIBUTING.md"];
    let mut files = tree::files(&tops, &["rs", "md", "toml", "py", "js", "html", "css", "svg", "yaml", "yml"]);
    // The page that lists them, and the suggestions that an old key gets.
    files.retain(|file| file.path != "docs/lexicon.md" && !FORMER_KEYS.contains(&file.path.as_str()));
    files
}

/// The files with the former names of keys, for the sake of "did you mean".
const FORMER_KEYS: [&str; 2] = ["balancer/src/config/value.rs", "balancer/src/config/load/tests/refused.rs"];

/// The words of a line: `hold_timer`, `holdTimer` and "hold timer" are all `hold`, `timer`.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut after_lower = false;
    for c in line.chars() {
        if !c.is_alphabetic() || (c.is_uppercase() && after_lower) {
            words.extend((!word.is_empty()).then(|| std::mem::take(&mut word)));
        }
        if c.is_alphabetic() {
            word.extend(c.to_lowercase());
        }
        after_lower = c.is_lowercase();
    }
    words.extend((!word.is_empty()).then_some(word));
    words
}

#[test]
fn given_up_words_are_said_nowhere() {
    let given_up = table("Words that were given up");
    let mut faults = Vec::new();
    for file in texts() {
        for (number, line) in file.lines() {
            let said = words(line);
            for GivenUp { word, instead } in &given_up {
                let plural = format!("{word}s");
                if said.iter().any(|one| one == word || *one == plural) {
                    faults.push(format!("{}:{number}: `{word}`, now {instead}", file.path));
                }
            }
        }
    }
    tree::assert_none(&faults, "docs/lexicon.md gave these words up");
}

#[test]
fn given_up_names_are_used_nowhere() {
    let given_up = table("Names that were given up");
    let is_name = |c: char| c.is_alphanumeric() || c == '_' || c == '-';
    let mut faults = Vec::new();
    for file in texts() {
        let is_code = file.path.starts_with("balancer/src/") && file.path.ends_with(".rs") && !file.is_test();
        for (number, line) in file.lines() {
            let code = if is_code { tree::code_of(line) } else { String::new() };
            for GivenUp { word, instead } in &given_up {
                // A key is looked for everywhere, a type in code alone: in a sentence it may be a word like another.
                let read = if word.contains('-') { line } else { &code };
                if read.split(|c| !is_name(c)).any(|name| name == word) {
                    faults.push(format!("{}:{number}: `{word}`, now {instead}", file.path));
                }
            }
        }
    }
    tree::assert_none(&faults, "docs/lexicon.md gave these names up");
}

#[test]
fn places_of_words_exist() {
    let page = tree::file("docs/lexicon.md");
    let rows = page.lines().skip_while(|(_, line)| *line != "## Words").take_while(|(_, line)| *line != "## Rules");
    let mut faults = Vec::new();
    let mut checked = 0;
    for (number, row) in rows.filter(|(_, line)| line.starts_with('|')) {
        let cell = row.split('|').nth(3).unwrap_or_default();
        for path in cell.split('`').skip(1).step_by(2) {
            checked += 1;
            if !tree::root().join("balancer/src").join(path).exists() {
                faults.push(format!("docs/lexicon.md:{number}: balancer/src/{path}"));
            }
        }
    }
    assert!(checked > 30, "only {checked} paths were found: the test does not read what it should");
    tree::assert_none(&faults, "these are not there");
}

#[test]
fn words_of_names_are_told_apart() {
    assert_eq!(words("self.hold_timer(OldName::new(), 12)"), ["self", "hold", "timer", "old", "name", "new"]);
    assert_eq!(words("// HTTP status page"), ["http", "status", "page"]);
}
