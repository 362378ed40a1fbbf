//! The `roundelay` binary: arguments, log, exit code.

fn main() -> std::process::ExitCode {
    roundelay::cli::main()
}
