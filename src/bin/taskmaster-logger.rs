//! The output logger; see `taskmaster::taskmaster_logger`.

fn main() -> std::process::ExitCode {
    taskmaster::taskmaster_logger()
}
