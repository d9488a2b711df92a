//! The `mixwell` command.

fn main() -> std::process::ExitCode {
    mixwell::cli::main()
}
