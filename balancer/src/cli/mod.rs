//! Flags, the commands that ask a running master, the harness's commands, exit codes.

mod args;
mod client;
mod command;
mod config_cmd;
#[cfg(feature = "compare")]
mod harness;
mod healthcheck;
mod internal;
mod list;
mod log;
mod missing;
mod run;
mod state;
mod status;
mod strategy;
mod target;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use crate::config::{Control, Problems};
use crate::failure::{Failure, code};
use crate::pool::operation::OperationKind;
use crate::printable;
use args::{Cli, Command, ConfigCommand};

/// Runs the program.
pub fn main() -> ExitCode {
    // The parts that the master starts itself skip the parser for people: it would cost time, and could misread their
    // arguments.
    let mut args = std::env::args_os().skip(1);
    if let Some(part) = args.next().as_deref().and_then(internal::Part::named) {
        return part.run(args);
    }
    match dispatch(Cli::from_command_line()) {
        Ok(code) => code,
        Err(CliError::Failure(failure)) => {
            print_error(&failure.to_string());
            ExitCode::from(failure.code)
        }
        Err(CliError::Problems(problems)) => {
            print_problems(&problems);
            ExitCode::from(problems.code())
        }
    }
}

/// The reason why a command gave up.
enum CliError {
    Failure(Failure),
    Problems(Problems),
}

impl From<Failure> for CliError {
    fn from(failure: Failure) -> Self {
        Self::Failure(failure)
    }
}

impl From<Problems> for CliError {
    fn from(problems: Problems) -> Self {
        Self::Problems(problems)
    }
}

fn dispatch(cli: Cli) -> Result<ExitCode, CliError> {
    let control = cli.control.as_deref();
    match &cli.command {
        None => run::bare(control),
        Some(Command::Run(run)) => run::run(run, control),
        Some(Command::Demo(demo)) => run::demo(demo, control),
        Some(Command::Config(ConfigCommand::Check(check))) => config_cmd::check(check, control),
        Some(Command::Config(ConfigCommand::Show(show))) => config_cmd::show(show, control),
        Some(Command::List(list)) => Ok(list::run(&control_path(control)?, list.is_json())?),
        Some(Command::Status(status)) => Ok(status::run(&control_path(control)?, status)?),
        Some(Command::Reload(reload)) => Ok(command::reload(&control_path(control)?, reload)?),
        Some(Command::Scale(scale)) => Ok(command::scale(&control_path(control)?, scale)?),
        Some(Command::Strategy(strategy)) => Ok(strategy::run(&control_path(control)?, strategy)?),
        Some(Command::Restart(on)) => Ok(command::targeted(&control_path(control)?, OperationKind::Restart, on)?),
        Some(Command::Stop(on)) => Ok(command::targeted(&control_path(control)?, OperationKind::Stop, on)?),
        Some(Command::Start(on)) => Ok(command::targeted(&control_path(control)?, OperationKind::Start, on)?),
        Some(Command::Message(message)) => Ok(command::message(&control_path(control)?, message)?),
        Some(Command::Shutdown(shutdown)) => Ok(command::shutdown(&control_path(control)?, shutdown)?),
        #[cfg(feature = "compare")]
        Some(Command::Compare(args)) => Ok(harness::run(|product| roundelay_harness::compare::run(args, product))?),
        #[cfg(feature = "compare")]
        Some(Command::Report(args)) => Ok(harness::run(|_| roundelay_harness::compare::show(args))?),
        #[cfg(feature = "compare")]
        Some(Command::Drill(args)) => Ok(harness::run(|product| roundelay_harness::drill::run(args, product))?),
        #[cfg(not(feature = "compare"))]
        Some(Command::Compare(_)) => {
            Err(Failure::new(code::USAGE, "this binary was built without `compare`, `report` and `drill`")
                .hint("build it with its default features: cargo install --path balancer")
                .into())
        }
        Some(Command::Healthcheck) => Ok(healthcheck::run(&control_path(control)?)?),
    }
}

/// Returns the path of the master's control socket: from the flag, the variable, or the default path.
fn control_path(flag: Option<&str>) -> Result<PathBuf, Failure> {
    let env = run::environment();
    let said = flag.or(crate::config::variable(&env, "ROUNDELAY_CONTROL"));
    let control = match said {
        None | Some("auto") => Control::Auto,
        Some("off") => Control::Off,
        Some(path) => Control::Path(path.into()),
    };
    let path = crate::admin::control_socket::path(&control);
    path.ok_or_else(|| {
        Failure::new(code::USAGE, "cannot reach a master without a control socket")
            .hint("point to its socket with --control PATH")
    })
}

fn print_error(text: &str) {
    let text = printable::escape_lines(text);
    let text = text.as_str();
    // Only the first word is coloured; colour carries no information of its own.
    let (word, rest) = text.split_once(':').unwrap_or((text, ""));
    let style = anstyle::Style::new().fg_color(Some(anstyle::AnsiColor::Red.into())).bold();
    let _ = writeln!(anstream::stderr(), "{style}{word}{style:#}:{rest}");
}

fn print_problems(problems: &Problems) {
    // anstream removes the colours if standard error is not a terminal.
    let _ = write!(anstream::stderr(), "{}", problems.render(true));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_name_in_an_error_is_escaped_for_the_terminal() {
        let failure = Failure::new(code::FAILED, "cannot listen on :80")
            .cause("held by evil\u{1b}]0;x\u{7}\r (pid 7)")
            .hint("stop\u{202e} it");
        let expected =
            "error: cannot listen on :80\ncause: held by evil\\u{1b}]0;x\\u{7}\\r (pid 7)\nhint:  stop\\u{202e} it";
        assert_eq!(printable::escape_lines(&failure.to_string()), expected);
    }
}
