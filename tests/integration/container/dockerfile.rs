//! A parser for our own Dockerfiles: stages of instructions, one a line, continued by a backslash.

/// A stage: everything from one `FROM` to the next.
#[derive(Debug)]
pub(super) struct Stage {
    pub(super) base: String,
    pub(super) name: Option<String>,
    instructions: Vec<(String, String)>,
}

/// The stages of a file, in order.
pub(super) fn parse(text: &str) -> Vec<Stage> {
    let lines = text.lines().filter(|line| !line.trim_start().starts_with('#') && !line.trim().is_empty());
    let text = lines.collect::<Vec<_>>().join("\n").replace("\\\n", " ");
    let mut stages: Vec<Stage> = Vec::new();
    for line in text.lines() {
        let (instruction, rest) = line.split_once(' ').unwrap();
        if instruction == "FROM" {
            let mut words = rest.split_whitespace();
            let base = words.next().unwrap().to_owned();
            stages.push(Stage { base, name: words.nth(1).map(str::to_owned), instructions: Vec::new() });
        } else {
            stages.last_mut().unwrap().instructions.push((instruction.to_owned(), rest.to_owned()));
        }
    }
    stages
}

impl Stage {
    /// The arguments of each instruction of a kind.
    pub(super) fn all(&self, instruction: &str) -> impl Iterator<Item = &str> {
        self.instructions.iter().filter(move |(found, _)| found == instruction).map(|(_, rest)| rest.as_str())
    }

    /// The arguments of the last instruction of a kind, which is the one that counts.
    #[track_caller]
    pub(super) fn last(&self, instruction: &str) -> &str {
        let found = self.instructions.iter().rfind(|(found, _)| found == instruction);
        found.map(|(_, rest)| rest.as_str()).unwrap_or_else(|| panic!("no {instruction} in {self:?}"))
    }

    /// The words of an instruction in its exec form, which needs no shell.
    #[track_caller]
    pub(super) fn words(&self, instruction: &str) -> Vec<String> {
        let rest = self.last(instruction);
        let form = rest.split_once("CMD ").map_or(rest, |(_, form)| form);
        serde_json::from_str(form).unwrap_or_else(|error| panic!("{instruction} {form}: {error}"))
    }

    /// The variables that the stage sets.
    pub(super) fn env(&self) -> Vec<(&str, &str)> {
        self.all("ENV").flat_map(str::split_whitespace).map(|pair| pair.split_once('=').unwrap()).collect()
    }

    /// The command line: entry point and command.
    #[track_caller]
    pub(super) fn command_line(&self) -> Vec<String> {
        [self.words("ENTRYPOINT"), self.words("CMD")].concat()
    }
}
