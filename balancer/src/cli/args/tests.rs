//! The command line.

use super::*;
use clap::CommandFactory;

fn parse(words: &[&str]) -> Result<Cli, clap::error::ErrorKind> {
    Cli::try_parse_from([&["roundelay"], words].concat()).map_err(|error| error.kind())
}

fn run(words: &[&str]) -> (Vec<(&'static str, Vec<String>)>, Vec<String>) {
    let cli = parse(&[&["run"], words].concat()).expect("valid");
    let Some(Command::Run(run)) = cli.command else { panic!("not run") };
    let given = run.options.flags(cli.control.as_deref()).into_iter().filter(|(_, words)| !words.is_empty());
    (given.map(|(flag, words)| (flag.name, words)).collect(), run.command)
}

#[test]
fn clap_definitions_are_valid() {
    Cli::command().debug_assert();
}

#[test]
fn short_help_fits_a_screen() {
    let mut command = Cli::command().term_width(80);
    command.build();
    let all =
        command.get_subcommands().flat_map(|sub| std::iter::once(sub.clone()).chain(sub.get_subcommands().cloned()));
    for mut one in std::iter::once(command.clone()).chain(all) {
        let help = one.render_help().to_string();
        let widest = help.lines().map(|line| line.chars().count()).max().unwrap_or(0);
        assert!(help.lines().count() <= 40 && widest <= 80, "{} lines, {widest} wide:\n{help}", help.lines().count());
        let long = one.render_long_help().to_string();
        assert!(long.lines().all(|line| line.chars().count() <= 80), "{long}");
    }
}

#[test]
fn every_flag_of_the_key_table_is_a_flag_of_run() {
    let command = Cli::command();
    let run = command.find_subcommand("run").expect("run");
    for flag in FLAGS {
        let known = run.get_arguments().chain(command.get_arguments()).any(|arg| arg.get_long() == Some(flag.name));
        assert!(known, "--{}", flag.name);
        let (given, _) = run_one(flag.name);
        assert_eq!(given, [(flag.name, vec!["x".to_owned()])]);
    }
}

fn run_one(name: &str) -> (Vec<(&'static str, Vec<String>)>, Vec<String>) {
    run(&[&format!("--{name}"), "x"])
}

#[test]
fn negative_count_is_a_value_and_two_dashes_begin_the_program() {
    let (given, command) = run(&["-i", "-1", "-l", ":80", "-l", "[::1]:81", "--", "node", "app.js", "--workers", "7"]);
    let word = |text: &str| text.to_owned();
    assert_eq!(given, [("listen", vec![word(":80"), word("[::1]:81")]), ("workers", vec![word("-1")])]);
    assert_eq!(command, ["node", "app.js", "--workers", "7"]);
    assert_eq!(run(&["--workers=-1"]).0, run(&["--workers", "-1"]).0);
    assert_eq!(run(&["-i-1"]).0, run(&["-i", "-1"]).0);
}

#[test]
fn wrong_usage_is_refused() {
    use clap::error::ErrorKind as Kind;
    assert_eq!(parse(&["rnu"]).err(), Some(Kind::InvalidSubcommand));
    assert_eq!(parse(&["run", "--lisen", ":80"]).err(), Some(Kind::UnknownArgument));
    assert_eq!(parse(&["run", "node", "app.js"]).err(), Some(Kind::UnknownArgument));
    assert_eq!(parse(&["list", "-o", "yaml"]).err(), Some(Kind::InvalidValue));
    assert_eq!(parse(&["-V"]).err(), Some(Kind::DisplayVersion));
}

#[test]
fn list_has_short_names_and_takes_the_socket_before_or_behind() {
    for words in [["list", "--json"], ["ls", "-ojson"], ["ps", "--output=json"]] {
        let cli = parse(&words).expect("valid");
        assert!(matches!(cli.command, Some(Command::List(list)) if list.is_json()));
    }
    for words in [["--control", "/x", "ls"], ["ls", "--control", "/x"]] {
        assert_eq!(parse(&words).expect("valid").control.as_deref(), Some("/x"));
    }
}

#[test]
fn control_commands_are_flat_and_a_step_down_is_no_flag() {
    let command = |words: &[&str]| parse(words).expect("valid").command.expect("a command");
    for step in ["-1", "+1", "4", "max", "auto"] {
        assert!(matches!(command(&["scale", "api", step]), Command::Scale(scale) if scale.workers == step), "{step}");
    }
    assert!(matches!(command(&["reload"]), Command::Reload(reload) if reload.pool.is_none()));
    assert!(matches!(command(&["reload", "api", "--timeout", "30s"]), Command::Reload(reload)
        if reload.pool.as_deref() == Some("api") && reload.watching.timeout == Some(std::time::Duration::from_secs(30))));
    assert!(matches!(command(&["restart", "api/0-1"]), Command::Restart(on) if on.target.is_some() && !on.all));
    assert!(matches!(command(&["stop", "--all"]), Command::Stop(on) if on.target.is_none() && on.all));
    for json in ["-", "-5", "{\"a\":1}", "text"] {
        assert!(
            matches!(command(&["message", "api/2", json]), Command::Message(message)
            if message.message == json && !message.text && !message.json),
            "{json}"
        );
    }
    assert!(matches!(command(&["message", "--text", "api", "5"]), Command::Message(message) if message.text));
    assert!(matches!(command(&["shutdown", "--now"]), Command::Shutdown(shutdown) if shutdown.now));
}

#[test]
fn misspelt_command_is_refused_with_the_nearest_word() {
    use clap::error::ErrorKind as Kind;
    let error = Cli::try_parse_from(["roundelay", "restrat", "api"]).expect_err("refused");
    assert!(error.to_string().contains("'restart'"), "{error}");
    assert_eq!(parse(&["stop", "api", "--all"]).err(), Some(Kind::ArgumentConflict));
    assert_eq!(parse(&["scale", "api"]).err(), Some(Kind::MissingRequiredArgument));
    assert_eq!(parse(&["message", "api"]).err(), Some(Kind::MissingRequiredArgument));
    assert_eq!(parse(&["scale", "api", "--x"]).err(), Some(Kind::UnknownArgument));
    assert_eq!(parse(&["reload", "--timeout", "soon"]).err(), Some(Kind::ValueValidation));
}

#[test]
fn timeout_above_the_limit_is_wrong_usage() {
    let parse = |time: &str| Cli::try_parse_from(["roundelay", "reload", "--timeout", time]).map(drop);
    parse("366d").unwrap();
    for time in ["367d", "18446744073709551615s", "500000000000y"] {
        assert_eq!(parse(time).unwrap_err().exit_code(), 2, "{time}");
    }
    Cli::try_parse_from(["roundelay", "shutdown", "--timeout", "367d"]).unwrap_err();
}
