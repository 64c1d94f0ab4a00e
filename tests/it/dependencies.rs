//! The dependencies: every licence allows our use, no crate has two versions without a reason, all are used.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

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

/// The crates that others may use alone.
const LIBRARIES: [&str; 4] =
    ["doorstep-adapters", "doorstep-application", "doorstep-contract", "doorstep-domain"];

/// An embedder compiles fewer crates than this, ours included: without features, and with the machine's ids and clock.
const FEWER_THAN: [(&str, usize); 2] =
    [("", 40), ("doorstep-domain/ids,doorstep-domain/std-clock", 43)];

/// What an embedder compiles, as a tree or a list.
fn tree(features: &str, form: &[&str]) -> String {
    let output = Command::new(env!("CARGO"))
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
        .args(["tree", "--locked", "--package", "doorstep-application", "--edges", "normal"])
        .args(["--features", features])
        .args(form)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn an_embedder_compiles_few_crates() {
    // NAME VERSION, and perhaps where it is and what it is.
    let name = |line: &str| line.split(' ').take(2).collect::<Vec<_>>().join(" ");
    for (features, fewer_than) in FEWER_THAN {
        let all = tree(features, &["--prefix", "none", "--no-dedupe", "--format", "{p}"]);
        let crates: BTreeSet<String> = all.lines().map(name).collect();
        let count = crates.len();
        let tree = tree(features, &[]);
        assert!(count < fewer_than, "{count} crates, not fewer than {fewer_than}:\n{tree}");
    }
}

#[test]
fn a_library_has_what_a_registry_asks_for() {
    let metadata = everything();
    let is_library = |package: &&Package| LIBRARIES.contains(&package.name.as_str());
    let libraries: Vec<&Package> =
        metadata.workspace_packages().into_iter().filter(is_library).collect();
    assert_eq!(libraries.len(), LIBRARIES.len());
    for package in libraries {
        let name = &package.name;
        let folder = package.manifest_path.parent().unwrap();
        assert!(package.description.is_some(), "{name} has no description");
        assert!(!package.keywords.is_empty(), "{name} has no keywords");
        assert!(!package.categories.is_empty(), "{name} has no categories");
        assert!(package.readme.is_some(), "{name} has no readme");
        for file in ["README.md", "LICENSE-MIT", "LICENSE-APACHE"] {
            assert!(folder.join(file).is_file(), "{name} is packed without its {file}");
        }
        for dependency in package.dependencies.iter().filter(|one| one.path.is_some()) {
            assert_ne!(
                dependency.req.to_string(),
                "*",
                "{name} names no version of {}",
                dependency.name
            );
        }
    }
}
