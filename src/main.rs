//! The `andon` binary: arguments to command to exit code.

mod cli;

fn main() -> std::process::ExitCode {
    cli::main()
}
