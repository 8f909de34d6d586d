//! Runs the committed corpus of every target, without libFuzzer.
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use chat_fuzz::TARGETS;

fn here(folder: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)
}

/// The names in a folder, without their extension.
fn names_in(folder: &Path) -> BTreeSet<String> {
    let files = fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let name = |path: PathBuf| path.file_stem()?.to_str().map(String::from);
    files.filter_map(|file| name(file.ok()?.path())).collect()
}

#[test]
fn every_corpus_file_keeps_the_laws() {
    for (name, target) in TARGETS {
        let folder = here("corpus").join(name);
        let files = names_in(&folder);
        assert!(!files.is_empty(), "the target `{name}` has no corpus");
        for file in files {
            let path = folder.join(file);
            // Seen only if the target panics.
            println!("replaying {}", path.display());
            target(&fs::read(&path).unwrap());
        }
    }
}

#[test]
fn every_target_has_a_file_a_binary_and_a_corpus() {
    let targets: BTreeSet<String> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(names_in(&here("corpus")), targets, "corpus/");
    assert_eq!(names_in(&here("fuzz_targets")), targets, "fuzz_targets/");
    let manifest = fs::read_to_string(here("Cargo.toml")).unwrap();
    for name in targets {
        assert!(manifest.contains(&format!("[[bin]]\nname = \"{name}\"\n")), "{name}: no [[bin]]");
    }
}

#[test]
fn short_and_damaged_inputs_keep_the_laws() {
    for (_, target) in TARGETS {
        target(&[]);
        for byte in 0..=u8::MAX {
            target(&[byte]);
            target(&[byte; 300]);
        }
    }
    for (name, target) in TARGETS {
        let folder = here("corpus").join(name);
        for file in names_in(&folder) {
            let bytes = fs::read(folder.join(file)).unwrap();
            for cut in (0..bytes.len()).step_by(bytes.len() / 16 + 1) {
                target(&bytes[..cut]);
                let mut flipped = bytes.clone();
                flipped[cut] ^= 0x20;
                target(&flipped);
            }
        }
    }
}
