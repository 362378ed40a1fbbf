//! A parser of Markdown pages, as far as these tests need it.

/// A fenced block.
pub(super) enum Block {
    Console(Vec<Step>),
    File { name: String, text: String },
    Other,
}

/// A command and the output that the page shows.
pub(super) struct Step {
    pub(super) command: String,
    pub(super) shown: Vec<String>,
}

/// The fenced blocks of a page, in order.
pub(super) fn blocks(page: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        let Some(language) = line.strip_prefix("```") else { continue };
        let body: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
        blocks.push(block(language, &body));
    }
    blocks
}

fn block(language: &str, body: &[&str]) -> Block {
    match language {
        "console" => Block::Console(steps(body)),
        "sh" | "" => Block::Other,
        _ => match body.first().and_then(|line| file_name(line)) {
            Some(name) => Block::File { name, text: body.join("\n") + "\n" },
            None => Block::Other,
        },
    }
}

/// `# roundelay.toml` or `// app.js`.
fn file_name(line: &str) -> Option<String> {
    let name = line.strip_prefix("# ").or_else(|| line.strip_prefix("// "))?;
    (name.contains('.') && !name.contains(' ')).then(|| name.to_owned())
}

fn steps(body: &[&str]) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    for line in body {
        if let Some(command) = line.strip_prefix("$ ") {
            steps.push(Step { command: command.to_owned(), shown: Vec::new() });
        } else if let Some(step) = steps.last_mut()
            && !line.trim().is_empty()
        {
            step.shown.push((*line).to_owned());
        }
    }
    assert!(!steps.is_empty(), "a console block without a command: {body:?}");
    steps
}

/// The code spans outside of fenced blocks.
pub(super) fn spans(page: &str) -> Vec<String> {
    let mut is_fenced = false;
    let mut spans = Vec::new();
    // A span may continue on the next line.
    let mut text = String::new();
    for line in page.lines() {
        let is_fence = line.starts_with("```");
        is_fenced ^= is_fence;
        if !is_fenced && !is_fence {
            text.push_str(line.trim_start());
            text.push(' ');
        }
    }
    spans.extend(text.split('`').skip(1).step_by(2).map(str::to_owned));
    spans
}

/// A command's words: single quotes keep blanks, nothing else is special.
pub(super) fn words(command: &str) -> Vec<String> {
    let mut words = Vec::new();
    for (index, part) in command.split('\'').enumerate() {
        match index % 2 {
            0 => words.extend(part.split_whitespace().map(str::to_owned)),
            _ => words.push(part.to_owned()),
        }
    }
    words
}

/// A line without anything that differs from run to run: every number is `#`, with its fraction; blanks are one
/// blank.
pub(super) fn shape(line: &str) -> String {
    let mut shape = String::new();
    let mut rest = line.split_whitespace().collect::<Vec<_>>().join(" ");
    while let Some(at) = rest.find(|c: char| c.is_ascii_digit()) {
        shape.push_str(&rest[..at]);
        shape.push('#');
        let number = |c: char| c.is_ascii_digit() || c == '.';
        let after = rest[at..].find(|c| !number(c)).map_or(rest.len(), |length| at + length);
        rest = rest[after..].to_owned();
    }
    shape + &rest
}

/// Returns true if `said` contains each line of `shown`, in order.
pub(super) fn is_shown(shown: &[String], said: &str) -> bool {
    let mut said = said.lines().map(shape);
    shown.iter().map(|line| shape(line)).all(|line| said.any(|one| one == line))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_differ_in_words_and_not_in_numbers() {
        assert_eq!(shape("  demo/0  ready  31920  5.9M  1"), shape(" demo/1 ready 7 12M 20"));
        assert_ne!(shape("demo/0 ready"), shape("demo/0 starting"));
        assert!(is_shown(&["b 1".to_owned(), "c".to_owned()], "a\nb 2\n\nc\n"));
        assert!(!is_shown(&["c".to_owned(), "b 1".to_owned()], "a\nb 2\n\nc\n"));
    }

    #[test]
    fn quotes_keep_words_together() {
        assert_eq!(words("roundelay run -- x 'a b' c"), ["roundelay", "run", "--", "x", "a b", "c"]);
        assert_eq!(spans("a `b c` d\n```sh\n`no`\n```\n`e\nf`"), ["b c", "e f"]);
    }
}
