//! The fork server; see `taskmaster::taskmaster_spawner`.

fn main() -> std::process::ExitCode {
    taskmaster::taskmaster_spawner()
}
