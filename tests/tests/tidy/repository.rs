//! The files to look at.
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

pub(crate) struct Repository {
    root: PathBuf,
    /// Paths from the root, with `/`, in order.
    pub(crate) files: Vec<String>,
}

impl Repository {
    pub(crate) fn open() -> Self {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        let root = here.parent().expect("this crate lies in the workspace").to_owned();
        let mut files = tracked(&root).unwrap_or_else(|| {
            let mut files = Vec::new();
            walk(&root, "", &mut files);
            files
        });
        files.sort();
        Self { root, files }
    }

    /// Returns a file's text; `None` if it isn't text, or is tracked but deleted.
    pub(crate) fn read(&self, path: &str) -> Option<String> {
        fs::read_to_string(self.root.join(path)).ok()
    }

    /// Returns what cargo says about the workspace.
    pub(crate) fn metadata(&self) -> Value {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let output = Command::new(cargo)
            .args(["metadata", "--no-deps", "--format-version", "1"])
            .current_dir(&self.root)
            .output()
            .expect("cargo runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).expect("cargo prints JSON")
    }
}

/// Asks git; `None` without git or outside of a repository (in a source archive).
fn tracked(root: &Path) -> Option<Vec<String>> {
    let output = Command::new("git").args(["ls-files", "-z"]).current_dir(root).output().ok()?;
    let names = String::from_utf8(output.stdout).ok()?;
    let files: Vec<String> =
        names.split('\0').filter(|name| !name.is_empty()).map(str::to_owned).collect();
    (output.status.success() && !files.is_empty()).then_some(files)
}

fn walk(root: &Path, below: &str, files: &mut Vec<String>) {
    let Ok(entries) = fs::read_dir(root.join(below)) else { return };
    for entry in entries.flatten() {
        let Ok(name) = entry.file_name().into_string() else { continue };
        let path = if below.is_empty() { name.clone() } else { format!("{below}/{name}") };
        let is_product = below.is_empty() && matches!(name.as_str(), "target" | ".git" | "data");
        match entry.file_type() {
            Ok(kind) if kind.is_dir() && !is_product => walk(root, &path, files),
            Ok(kind) if kind.is_file() => files.push(path),
            Ok(_) | Err(_) => {}
        }
    }
}

#[test]
fn without_git_the_folder_is_walked() {
    let dir = tempfile::tempdir().expect("a folder");
    for path in ["a/b", "target/debug"] {
        fs::create_dir_all(dir.path().join(path)).expect("a folder in it");
    }
    for path in ["a/b/c.rs", "top.md", "target/debug/x.rs"] {
        fs::write(dir.path().join(path), "").expect("a file");
    }
    let mut files = Vec::new();
    walk(dir.path(), "", &mut files);
    files.sort();
    assert_eq!(files, ["a/b/c.rs", "top.md"]);
}
