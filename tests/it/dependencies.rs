//! The dependencies: every licence allows our use, no crate has two versions without a reason, all are used.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, Package};

/// Licences that allow distributing the binary under ours (MIT OR Apache-2.0).
const LICENCES: [&str; 11] = [
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-1-Clause",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "ISC",
    "MIT",
    "Unicode-3.0",
    "Zlib",
];

/// Crates that Cargo.lock has in more than one version, one per line, each with the reason.
const DUPLICATES: &str = include_str!("../policy/duplicate-versions.txt");

/// Dependencies that no source names, with the reason: they enable features of other crates.
const ONLY_FOR_FEATURES: [(&str, &str); 0] = [];

fn everything() -> Metadata {
    MetadataCommand::new()
        .manifest_path(concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml"))
        .other_options(["--locked".to_owned()])
        .exec()
        .unwrap()
}

/// Whether [`LICENCES`] satisfy an SPDX expression: one operand of each `OR`, all operands of each `AND`.
fn allowed(expression: &str) -> bool {
    let expression = expression.replace('/', " OR ");
    let expression = expression.trim();
    if let Some(inner) = expression.strip_prefix('(')
        && let Some((inner, rest)) = inner.split_once(')')
    {
        return match rest.trim().strip_prefix("AND") {
            Some(and) => allowed(inner) && allowed(and),
            None => allowed(inner),
        };
    }
    if expression.contains(" AND ") && !expression.contains(" OR ") {
        return expression.split(" AND ").all(allowed);
    }
    expression.split(" OR ").any(|licence| LICENCES.contains(&licence.trim()))
}

#[test]
fn every_licence_allows_what_we_do() {
    for package in everything().packages {
        let licence = package.license.as_deref().unwrap_or("none");
        assert!(allowed(licence), "{} {}: licence {licence}", package.name, package.version);
    }
    for (expression, expected) in [
        ("MIT OR GPL-3.0", true),
        ("GPL-3.0", false),
        ("MIT AND GPL-3.0", false),
        ("(MIT OR GPL-3.0) AND Zlib", true),
        ("(GPL-3.0 OR AGPL-3.0) AND Zlib", false),
    ] {
        assert_eq!(allowed(expression), expected, "{expression}");
    }
}

#[test]
fn a_crate_in_two_versions_has_a_reason() {
    let mut versions = BTreeMap::<String, usize>::new();
    for package in everything().packages {
        *versions.entry(package.name.to_string()).or_default() += 1;
    }
    let twice: BTreeSet<&str> =
        versions.iter().filter(|(_, count)| **count > 1).map(|(name, _)| name.as_str()).collect();
    let lines = DUPLICATES.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    let known: BTreeSet<&str> =
        lines.map(|line| line.split_once(':').expect("NAME: reason").0).collect();
    assert_eq!(
        twice, known,
        "left: what Cargo.lock has; right: tests/policy/duplicate-versions.txt"
    );
}

/// Appends all Rust sources below this folder.
fn sources(folder: &Path, text: &mut String) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.ends_with("target") {
            sources(&path, text);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            text.push_str(&fs::read_to_string(path).unwrap());
        }
    }
}

fn unused(package: &Package) -> Vec<String> {
    let folder = package.manifest_path.parent().unwrap();
    let mut text = String::new();
    sources(folder.as_std_path(), &mut text);
    let named = |crate_name: &str| {
        let name = crate_name.replace('-', "_");
        let uses = [format!("{name}::"), format!("use {name}"), format!("extern crate {name}")];
        // The first form also covers attributes such as `#[tokio::main]`.
        uses.iter().any(|used| text.contains(used))
    };
    package
        .dependencies
        .iter()
        .filter(|dependency| dependency.kind != DependencyKind::Build)
        .map(|dependency| dependency.rename.clone().unwrap_or(dependency.name.clone()))
        .filter(|name| !named(name))
        .filter(|name| !ONLY_FOR_FEATURES.iter().any(|(known, _)| known == name))
        .collect()
}

#[test]
fn every_dependency_is_used() {
    let metadata = everything();
    for package in metadata.workspace_packages() {
        let unused = unused(package);
        assert!(unused.is_empty(), "{}: nothing uses {unused:?}", package.name);
    }
}

#[test]
fn the_oldest_compiler_is_said_once() {
    let metadata = everything();
    let versions: BTreeSet<_> =
        metadata.workspace_packages().iter().map(|package| package.rust_version.clone()).collect();
    assert_eq!(
        versions.len(),
        1,
        "every crate takes its rust-version from the workspace: {versions:?}"
    );
}
