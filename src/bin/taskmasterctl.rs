//! `taskmasterctl`: the control shell and the one-shot commands.
fn main() -> std::process::ExitCode {
    taskmaster::taskmasterctl()
}
