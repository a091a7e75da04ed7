//! The configurations in `etc/examples`: each is one without a fault and without a warning.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::root;
use crate::config::{Directories, Environment, Files, load};

/// The disk, and files that an example names: they are there, and empty.
struct Disk;

impl Files for Disk {
    fn read(&mut self, path: &Path) -> Result<String, String> {
        if !path.starts_with(root()) {
            return Ok(String::new());
        }
        std::fs::read_to_string(path).map_err(|error| error.to_string())
    }
    fn glob(&mut self, _: &str) -> Result<Vec<PathBuf>, String> {
        Ok(Vec::new())
    }
    fn exists(&mut self, _: &Path) -> bool {
        true
    }
    fn secret(&mut self, _: &Path) -> Result<(), String> {
        Ok(())
    }
    fn is_private(&mut self, _: &Path) -> bool {
        true
    }
}

#[test]
fn every_example_is_a_configuration_without_a_fault() {
    let environment = Environment {
        host: "h1".to_owned(),
        root: true,
        env: BTreeMap::new(),
        defaults: Directories {
            log_dir: "/var/log/taskmaster".into(),
            state_dir: "/var/lib/taskmaster".into(),
            runtime_dir: "/run/taskmaster".into(),
        },
        local_only: false,
    };
    let entries = std::fs::read_dir(root().join("etc/examples")).expect("examples");
    let mut names: Vec<String> = Vec::new();
    for entry in entries {
        let path = entry.expect("an entry").path();
        let config = load(&path, &mut Disk, &environment).unwrap_or_else(|faults| panic!("{faults}"));
        assert!(config.warnings.is_empty() && !config.programs.is_empty(), "{}: {:?}", path.display(), config.warnings);
        names.push(path.file_name().expect("a name").to_string_lossy().into_owned());
    }
    names.sort();
    assert_eq!(names, ["container.toml", "nginx.toml", "postgresql.toml", "python-web.toml"]);
}
