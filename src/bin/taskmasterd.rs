//! The supervisor; see `taskmaster::taskmasterd`.

fn main() -> std::process::ExitCode {
    taskmaster::taskmasterd()
}
