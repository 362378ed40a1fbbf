//! Reads why the product gave up from its output: the lines `error:`, `cause:` and `hint:`. Pure.

use crate::setup::SetupError;
use crate::setup::run::Ended;

/// The exit codes of a refusal: wrong usage, a wrong configuration, not possible here.
const REFUSED: [i32; 3] = [2, 78, 6];

/// Interprets a failed start: if the program does not fit the mode, or the product refuses it, the way is skipped.
pub(super) fn of_start(mode: &str, code: Option<i32>, how: &str, stderr: &str) -> SetupError {
    let said = said(stderr, true);
    let text = said.unwrap_or_else(|| format!("the master ended ({how}) and did not say why"));
    let is_misfit = mode != "proxy" && text.contains("no worker became ready");
    match code {
        Some(code) if REFUSED.contains(&code) || is_misfit => SetupError::Unable(text),
        _ => SetupError::Failed(format!("the master did not start: {text}")),
    }
}

/// Interprets a failed command.
pub(super) fn of_command(words: &[&str], ended: &Ended) -> SetupError {
    let command = format!("`roundelay {}`", words.join(" "));
    let text = said(&ended.stderr, false).unwrap_or_else(|| "it did not say why".to_owned());
    match ended.code {
        Some(code) if REFUSED.contains(&code) => SetupError::Unable(text),
        Some(code) => SetupError::Failed(format!("{command} failed (exit code {code}): {text}")),
        None => SetupError::Failed(format!("{command} was killed: {text}")),
    }
}

/// Returns the last error in the output, on one line; `None` if there is none.
fn said(stderr: &str, with_hint: bool) -> Option<String> {
    let lines: Vec<&str> = stderr.lines().collect();
    let from = lines.iter().rposition(|line| line.starts_with("error: "))?;
    let mut text = String::new();
    for line in &lines[from..] {
        match line.split_once(':') {
            Some(("error", error)) => text.push_str(error.trim()),
            Some(("cause", cause)) => text.extend([": ", cause.trim()]),
            Some(("hint", hint)) if with_hint => text.extend(["; ", hint.trim()]),
            Some(("hint", _)) => break,
            // The last lines of a worker's output are quoted below the cause.
            _ if line.starts_with(' ') && !line.trim().is_empty() => text.extend([" | ", line.trim()]),
            _ => break,
        }
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEVER_READY: &str = "{\"level\":\"WARN\"}\nerror: pool `app`: no worker became ready\ncause: app/1: exit code 3; it \
                               last wrote:\n         hello\n         there\nhint:  use `--mode proxy`\n";

    #[test]
    fn unfit_program_skips_a_mode_and_is_broken_in_proxy() {
        let text = "pool `app`: no worker became ready: app/1: exit code 3; it last wrote: | hello | there; use `--mode proxy`";
        assert_eq!(of_start("handoff", Some(1), "exit code 1", NEVER_READY), SetupError::Unable(text.into()));
        let failed = of_start("proxy", Some(1), "exit code 1", NEVER_READY);
        assert_eq!(failed, SetupError::Failed(format!("the master did not start: {text}")));
    }

    #[test]
    fn refused_setup_is_unable_with_the_masters_words() {
        let usage = "error: in mode `shared` there is no private endpoint\nhint:  remove it\n";
        let unable = SetupError::Unable("in mode `shared` there is no private endpoint; remove it".into());
        assert_eq!(of_start("shared", Some(2), "exit code 2", usage), unable);
        let ended =
            Ended { code: Some(6), stdout: String::new(), stderr: "error: cannot scale\ncause: fixed\n".into() };
        assert_eq!(of_command(&["scale", "app", "3"], &ended), SetupError::Unable("cannot scale: fixed".into()));
    }

    #[test]
    fn silence_is_said_too() {
        let SetupError::Failed(text) = of_start("proxy", None, "killed by signal 9", "some log\n") else {
            panic!("a kill is no refusal")
        };
        assert!(text.contains("killed by signal 9"), "{text}");
        let ended = Ended { code: Some(1), stdout: String::new(), stderr: String::new() };
        let SetupError::Failed(text) = of_command(&["reload"], &ended) else { panic!("no refusal") };
        assert_eq!(text, "`roundelay reload` failed (exit code 1): it did not say why");
    }
}
