//! The table in docs/promises.md: each of its cells names tests that exist.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

const HEADING: &str = "## What a crash costs";
const WAYS: usize = 5;
const CRASHES: usize = 6;

fn here(file: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(file);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The cells of each line of a table in this text, without its head.
fn rows(text: &str) -> Vec<Vec<&str>> {
    let lines = text.lines().filter(|line| line.starts_with('|')).skip(2);
    lines.map(|line| line.trim_matches('|').split('|').map(str::trim).collect()).collect()
}

/// The tests by number: `1. `name` in `file`, ...`.
fn tests(text: &str) -> BTreeMap<u32, Vec<(&str, &str)>> {
    let mut tests = BTreeMap::new();
    for line in text.lines() {
        let Some((Ok(number), rest)) = line.split_once(". ").map(|(n, rest)| (n.parse(), rest))
        else {
            continue;
        };
        let (file, names) = rest.split_once(": ").unwrap_or_else(|| panic!("{line}"));
        let file = file.trim_matches('`');
        tests
            .insert(number, names.split(", ").map(|name| (file, name.trim_matches('`'))).collect());
    }
    tests
}

#[test]
fn each_cell_names_tests_that_exist() {
    let text = here("docs/promises.md");
    let (_, section) = text.split_once(HEADING).unwrap();
    let section = section.split("\n## ").next().unwrap();
    let (tests, rows, mut used) = (tests(section), rows(section), BTreeSet::new());
    assert_eq!(rows.len(), CRASHES);
    for row in &rows {
        assert_eq!(row.len(), 1 + WAYS, "{row:?}");
        for cell in row[1..].iter().filter(|cell| **cell != "-") {
            let (word, numbers) = cell.split_once(" (").unwrap_or_else(|| panic!("{row:?}"));
            assert!(["kept", "lost", "told"].contains(&word), "{cell}");
            for number in numbers.trim_end_matches(')').split(", ") {
                let number = number.parse().unwrap();
                assert!(tests.contains_key(&number), "{cell} of {row:?} has no test");
                used.insert(number);
            }
        }
    }
    assert_eq!(used, tests.keys().copied().collect(), "a test is for no cell");
    for (file, name) in tests.values().flatten() {
        let is_test = here(file).contains(&format!("]\nasync fn {name}()"));
        assert!(is_test, "there is no test {name} in {file}");
    }
}
