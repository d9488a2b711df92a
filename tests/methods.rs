//! The pages in docs/methods name a test for every line of a method; the names must exist.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{collections::BTreeSet, fs, path::Path};

fn sources(folder: &Path, to: &mut String) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, to);
        } else if path.extension().is_some_and(|e| e == "rs") {
            to.push_str(&fs::read_to_string(path).unwrap());
        }
    }
}

#[test]
fn every_test_that_a_methods_page_names_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut code = String::new();
    for folder in ["src", "tests"] {
        sources(&root.join(folder), &mut code);
    }
    let tests: BTreeSet<&str> = code
        .split("#[test]")
        .skip(1)
        .filter_map(|after| after.split_once("fn ")?.1.split_once('('))
        .map(|(name, _)| name)
        .collect();
    for page in ["clel", "flow-ebm", "latent-prior"] {
        let path = root.join("docs/methods").join(page).with_extension("md");
        let text = fs::read_to_string(&path).unwrap();
        let mut named = 0;
        for row in text.lines().filter(|line| line.starts_with('|')) {
            // The last column; a cell may hold an escaped bar.
            let cell = row.trim_end_matches('|').rsplit(" | ").next().unwrap();
            for name in cell.split('`').skip(1).step_by(2) {
                // Names of fields of a fixture are shorter, and "…" stands for several tests.
                if name.matches('_').count() >= 2 && !name.contains('…') {
                    assert!(
                        tests.contains(name),
                        "{page}.md names {name}, which is no test"
                    );
                    named += 1;
                }
            }
        }
        assert!(named > 10, "{page}.md names {named} tests");
    }
}
