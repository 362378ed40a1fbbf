//! `docs/workers.md` as data: what a table row claims and the program below its heading.

const PAGE: &str = include_str!("../../../docs/workers.md");

/// The claims and the program of one language on the page.
#[derive(Debug)]
pub(super) struct Language {
    pub(super) name: &'static str,
    /// The program, as it stands on the page.
    pub(super) code: &'static str,
    /// `PORT` may be the path of a unix socket.
    pub(super) takes_a_path: bool,
    /// The program can inherit its listening socket.
    pub(super) inherits: bool,
    /// The program finishes open requests after SIGTERM by itself.
    pub(super) finishes: bool,
}

/// The sections that hold a program.
pub(super) fn languages() -> Vec<Language> {
    PAGE.split("\n## ").skip(1).filter(|section| section.contains("\n```")).map(language).collect()
}

pub(super) fn find(name: &str) -> Language {
    languages().into_iter().find(|language| language.name == name).expect(name)
}

/// The blocks after the program in a language's section.
pub(super) fn others(name: &str) -> Vec<&'static str> {
    let section = PAGE.split("\n## ").find(|section| section.starts_with(&format!("{name}\n"))).expect(name);
    section.split("\n```").skip(3).step_by(2).filter_map(|block| block.split_once('\n')).map(|(_, code)| code).collect()
}

fn language(section: &'static str) -> Language {
    let (name, rest) = section.split_once('\n').unwrap();
    let (_, block) = rest.split_once("\n```").unwrap();
    let (_, code) = block.split_once('\n').unwrap();
    let (code, _) = code.split_once("```").unwrap();
    let row = PAGE.lines().find_map(|line| line.strip_prefix(&format!("| {name} | "))).expect(name);
    let claims: Vec<_> = row.trim_end_matches(" |").split(" | ").map(|word| word == "yes").collect();
    let [takes_a_path, inherits, finishes] = claims[..] else { panic!("{row}") };
    Language { name, code, takes_a_path, inherits, finishes }
}
