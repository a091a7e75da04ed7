//! The event log; see `taskmaster::taskmaster_notifier`.

fn main() -> std::process::ExitCode {
    taskmaster::taskmaster_notifier()
}
