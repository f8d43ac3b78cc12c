//! The `imgforge` program.

fn main() -> std::process::ExitCode {
    imgforge::cli::run()
}
