//! Ringway's executable.

fn main() -> std::process::ExitCode {
    ringway::cli::main()
}
