//! The exit code and the text with which a command ends.

use super::*;
use crate::admin::commands::{CommandError, CommandErrorKind, CommandRequest, CommandUpdate, PlannedChange};
use crate::admin::tests::{Server, pool};

#[test]
fn refusal_has_the_exit_code_of_its_kind() {
    let refusal = |status: u16, detail: &str, hint: Option<&str>| {
        let problem = Problem { title: "x".into(), status, detail: detail.into(), hint: hint.map(str::to_owned) };
        refusal(&Reply { status, body: serde_json::to_vec(&problem).unwrap().into() })
    };
    let codes = [404, 403, 409, 503, 422, 400, 500].map(|status| refusal(status, "no", None).code);
    let expected = [code::NO_TARGET, code::REFUSED, code::REFUSED, code::REFUSED, 1, 1, 1];
    assert_eq!(codes, expected);
    let unknown = refusal(404, "no pool named `apj`", Some("did you mean `api`?"));
    assert_eq!(unknown.to_string(), "error: no pool named `apj`\nhint:  did you mean `api`?");
    let mistakes = refusal(422, "error: unknown key\n  --> r.toml:4:1\n1 error in r.toml\n", None);
    assert_eq!(
        mistakes.to_string(),
        "error: the configuration was not reloaded, and nothing was changed\n\
         cause: it has mistakes\nerror: unknown key\n  --> r.toml:4:1\n1 error in r.toml"
    );
}

#[test]
fn command_without_a_target_is_wrong_usage() {
    let nothing = Targeted { target: None, all: false, watching: Watching::default() };
    let failure = targeted(Path::new("/nowhere/c"), OperationKind::Stop, &nothing).unwrap_err();
    assert_eq!((failure.code, failure.error.as_str()), (code::USAGE, "missing POOL or POOL/WORKER (or --all)"));
}

/// Gives a command to a master that sends these updates and then ends its answer.
fn given(news: Vec<CommandUpdate>, holds: bool, watching: Watching) -> Result<ExitCode, Failure> {
    let (server, mut commands) = Server::with_commands(vec![pool("api")]);
    let carrying_out = std::thread::spawn(move || {
        let CommandRequest { reply, .. } = commands.blocking_recv().unwrap();
        news.into_iter().for_each(|told| drop(reply.send(told)));
        // Waits until the server ends, together with the client.
        if holds { commands.blocking_recv() } else { None }
    });
    let ended = reload(&server.control, &Reload { pool: Some("api".to_owned()), watching });
    drop(server);
    carrying_out.join().unwrap();
    ended
}

#[test]
fn exit_code_is_the_result_of_the_command() {
    use crate::pool::operation::{Ledger, OperationStep, Report};
    use std::time::{Duration, SystemTime};

    let began = || {
        let step =
            OperationStep::Began { verb: OperationKind::Reload, generation: 1, next_generation: Some(2), slots: 2 };
        CommandUpdate::Step { pool: "api".into(), step, plan: PlannedChange::default() }
    };
    let report = |result: Result<(), &str>, cut| {
        let (verb, result) = (OperationKind::Reload, result.map_err(str::to_owned));
        let (took, at, ledger) = (Duration::ZERO, SystemTime::now(), Some(Ledger { cut, ..Ledger::default() }));
        CommandUpdate::Report { pool: "api".into(), report: Report { verb, result, generation: 2, took, at, ledger } }
    };
    let refused = || CommandUpdate::Refused(CommandError::new(CommandErrorKind::Refused, "busy"));
    let code = |news, holds, watching| match given(news, holds, watching) {
        Ok(code) => format!("{code:?}"),
        Err(failure) => format!("{:?}", ExitCode::from(failure.code)),
    };
    let hurried = Watching { timeout: Some(Duration::from_millis(50)), json: false };
    for (news, holds, watching, expected) in [
        (vec![began(), report(Ok(()), 0)], false, Watching::default(), 0),
        (vec![began(), report(Ok(()), 1)], false, Watching::default(), 1),
        (vec![began(), report(Err("no"), 0)], false, Watching::default(), 1),
        (vec![began(), report(Err("no"), 0), refused()], false, Watching::default(), 1),
        (vec![refused()], false, Watching::default(), code::REFUSED),
        (vec![began()], false, Watching::default(), code::FAILED),
        (vec![], false, Watching::default(), code::REFUSED),
        (vec![began()], true, hurried, code::TIMED_OUT),
    ] {
        let said = format!("{news:?}");
        assert_eq!(code(news, holds, watching), format!("{:?}", ExitCode::from(expected)), "{said}");
    }
}
