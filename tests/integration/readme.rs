//! The commands, files, flags, keys and links in README.md and docs/ are true.
//!
//! The README's blocks are run from top to bottom, as a reader would:
//!
//! - A `console` block is a session. A line that begins with `$ ` is a command, the lines below it are what it shows:
//!   each must be found in what it really says, in that order, while more may stand between. Numbers and times may
//!   differ, and so may the width of blanks (see [`page::shape`]). A command that shows an `error:` must fail, any other must
//!   succeed. Output that appears only after a moment (a worker that is started again) is asked until it does.
//! - `roundelay`, `roundelay demo`, `roundelay run ...` and `cargo run --release` start a master, which runs until the
//!   next one is started or the page ends, and must then stop with 0. It gets free ports: where a later command names an
//!   address of the README, it is sent to the real one, and the pid that `kill` names is its first worker's.
//! - A block of another language whose first line is a comment with a file's name is that file.
//! - An `sh` block is not run: it is for cargo, npm and the reader's shell. `.ci/run` runs the test command.

mod page;
mod session;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use page::{Block, blocks, spans, words};
use session::Session;

use crate::kit::{Setup, run_to_end};

fn root() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn readme() -> String {
    read(&root().join("README.md"))
}

/// README.md, CONTRIBUTING.md and docs/*.md.
fn pages() -> Vec<PathBuf> {
    let mut pages = vec![root().join("README.md"), root().join("CONTRIBUTING.md")];
    let docs = std::fs::read_dir(root().join("docs")).unwrap().map(|entry| entry.unwrap().path());
    pages.extend(docs.filter(|path| path.extension().is_some_and(|extension| extension == "md")));
    assert!(pages.len() > 3, "hardly any pages: {pages:?}");
    pages
}

#[test]
fn commands_of_the_readme_do_what_it_shows() {
    let mut session = Session::default();
    for block in blocks(&readme()) {
        match block {
            Block::File { name, text } => session.write(name, text),
            Block::Console(steps) => steps.iter().for_each(|step| session.run(step)),
            Block::Other => {}
        }
    }
    session.finish();
    assert!(session.masters > 3 && session.commands > 10, "hardly anything in README.md can be run: {session:?}");
}

#[test]
fn commands_of_the_node_page_do_what_it_shows() {
    let mut session = Session::default();
    for block in blocks(&read(&root().join("docs/node.md"))) {
        match block {
            Block::File { name, text } => session.write(name, text),
            Block::Console(steps) => steps.iter().for_each(|step| session.run(step)),
            Block::Other => {}
        }
    }
    session.finish();
    assert!(session.masters > 0 && session.commands > 3, "hardly anything in docs/node.md can be run: {session:?}");
}

#[test]
fn configuration_files_of_the_readme_are_valid() {
    let mut checked = 0;
    for block in blocks(&readme()) {
        let Block::File { name, text } = block else { continue };
        // `typo.toml` shows a mistake; the session runs it.
        if name.ends_with(".toml") && name != "typo.toml" {
            let setup = Setup::new(&["config", "check", "-c", &name]).env("ROUNDELAY_LISTEN", "");
            std::fs::create_dir(setup.dir().join("config")).unwrap();
            let ended = setup.file(&name, &text).run_to_end();
            assert_eq!(ended.code, Some(0), "{name}: {}", ended.stderr);
            checked += 1;
        }
    }
    assert!(checked > 0, "README.md has no configuration file");
}

/// The text of `roundelay ARGS --help`.
fn help(args: &[&str]) -> String {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_roundelay"));
    let ended = run_to_end(command.args(args).arg("--help"));
    assert_eq!(ended.code, Some(0), "{args:?} --help: {}", ended.stderr);
    ended.stdout
}

/// The flags in a help text, such as `-i` and `--workers`.
fn flags(help: &str) -> BTreeSet<String> {
    let cut = |c: char| c.is_whitespace() || ",=[]`".contains(c);
    help.split(cut).filter(|word| word.starts_with('-') && word.len() > 1).map(str::to_owned).collect()
}

/// Every `roundelay ...` that a page tells the reader to type: in console and sh blocks and in code spans.
fn told(page: &str) -> Vec<String> {
    let mut told: Vec<String> = spans(page);
    let lines = page.lines().map(|line| line.strip_prefix("$ ").unwrap_or(line));
    told.extend(lines.map(str::to_owned));
    told.retain(|line| line == "roundelay" || line.starts_with("roundelay "));
    told
}

#[test]
fn every_command_and_flag_in_the_pages_exists() {
    let commands = [
        "run",
        "demo",
        "list",
        "status",
        "reload",
        "scale",
        "strategy",
        "restart",
        "stop",
        "start",
        "message",
        "shutdown",
        "healthcheck",
        "compare",
        "report",
        "drill",
        "config check",
        "config show",
    ];
    let top = help(&[]);
    let known = |words: &str| flags(&help(&words.split(' ').collect::<Vec<_>>()));
    let all: BTreeSet<String> = commands.iter().flat_map(|command| known(command)).chain(flags(&top)).collect();
    let mut seen = 0;
    for path in pages() {
        let page = read(&path);
        for line in told(&page) {
            let words = words(&line);
            let ours: Vec<&str> = words.iter().skip(1).map(String::as_str).take_while(|word| *word != "--").collect();
            let named = commands.iter().find(|name| ours.join(" ").starts_with(*name));
            let is_bare = ours.first().is_none_or(|word| word.starts_with('-') || *word == "|");
            assert!(named.is_some() || is_bare, "{}: no such command: {line}", path.display());
            let of = named.map_or_else(|| flags(&top), |name| known(name));
            // A negative number is a value, and so is standard input.
            let is_flag = |word: &&&str| word.starts_with('-') && **word != "-" && word.parse::<i32>().is_err();
            for flag in ours.iter().filter(is_flag) {
                assert!(of.contains(*flag), "{}: {flag} is no flag of `{line}`", path.display());
            }
            seen += 1;
        }
        let lines = page.lines().filter(|line| !line.contains("pm2"));
        for span in lines.flat_map(spans).filter(|span| span.starts_with("--")) {
            let flag = words(&span).swap_remove(0);
            assert!(all.contains(&flag), "{}: no such flag: {span}", path.display());
        }
    }
    assert!(seen > 10, "hardly any commands in the pages");
}

#[test]
fn every_key_that_the_readme_names_exists() {
    let reference = read(&root().join("config/roundelay.toml"));
    let line = |line: &str| Some(line.trim_start_matches('#').split_once(" = ")?.0.to_owned());
    let keys: BTreeSet<String> = reference.lines().filter_map(line).collect();
    let mut seen = 0;
    for page in [readme(), read(&root().join("docs/operations.md"))] {
        for span in spans(&page) {
            // Our keys have a hyphen, which distinguishes them from other words: `hold-timeout`, `give-up = "exit"`.
            let key = span.split(" = ").next().unwrap_or_default();
            let is_strategy = roundelay::strategy::find(key).is_some();
            let is_key = key.contains('-') && key.starts_with(char::is_alphabetic) && !is_strategy;
            if is_key && key.chars().all(|c| c.is_ascii_lowercase() || c == '-') {
                assert!(keys.contains(key), "config/roundelay.toml has no key {key}");
                seen += 1;
            }
        }
    }
    assert!(seen > 5, "the pages name hardly any keys");
}

#[test]
fn every_link_within_the_repository_resolves() {
    let mut seen = 0;
    for path in pages() {
        for link in read(&path).split("](").skip(1).filter_map(|rest| Some(rest.split_once(')')?.0.to_owned())) {
            let target = link.split('#').next().unwrap_or_default();
            if target.is_empty() || target.contains("://") {
                continue;
            }
            assert!(path.parent().unwrap().join(target).exists(), "{}: {link} leads nowhere", path.display());
            seen += 1;
        }
    }
    assert!(seen > 5, "hardly any links");
}
