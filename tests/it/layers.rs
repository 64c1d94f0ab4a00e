//! The rules of the workspace that a compiler does not know: who may depend on whom, and what lies where.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use cargo_metadata::{Dependency, DependencyKind, Metadata, MetadataCommand, Package};

/// Our crates by folder, each with those of ours that it may use: app -> adapters -> application -> domain.
const ARROWS: [(&str, &[&str]); 5] = [
    ("domain", &[]),
    ("application", &["domain"]),
    ("adapters", &["domain", "application"]),
    ("app", &["domain", "application", "adapters"]),
    ("tests", &["domain", "application", "adapters", "app"]),
];

/// All that the domain may depend on: no async runtime, no I/O. `mockall` only behind its feature.
const DOMAIN_MAY_USE: [&str; 6] =
    ["async-trait", "mockall", "serde", "serde_json", "thiserror", "uuid"];

/// All that the application may depend on beside the domain: an async runtime, but no technology of an adapter.
const APPLICATION_MAY_USE: [&str; 11] = [
    "async-trait",
    "futures-util",
    "foldhash",
    "hashbrown",
    "serde",
    "shuttle", // Optional: the model checker's mutex in place of the standard library's.
    "slab",
    "thiserror",
    "tokio",
    "tokio-util",
    "tracing",
];

/// What of tokio the application may switch on: no sockets, files, processes or signals.
const APPLICATION_MAY_USE_OF_TOKIO: [&str; 4] = ["macros", "rt-multi-thread", "sync", "time"];

/// What lies at the top, beside dot-files and licences.
const TOP_LEVEL: [&str; 10] = [
    "ARCHITECTURE.md",
    "Cargo.lock",
    "Cargo.toml",
    "README.md",
    "adapters",
    "app",
    "application",
    "docs",
    "domain",
    "tests",
];

/// Written while building or running, and ignored by git.
const NOT_COMMITTED: [&str; 1] = ["target"];

/// Those of [`TOP_LEVEL`] that nothing can do without.
const MUST_EXIST: [&str; 9] = [
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE-APACHE",
    "LICENSE-MIT",
    "adapters",
    "app",
    "application",
    "domain",
    "tests",
];

fn workspace() -> Metadata {
    MetadataCommand::new()
        .manifest_path(concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml"))
        .no_deps()
        .other_options(["--offline".to_owned()])
        .exec()
        .unwrap()
}

/// The folder a crate of ours lives in, which is also how the rules above name it.
fn folder(package: &Package) -> &str {
    package.manifest_path.parent().and_then(|dir| dir.file_name()).unwrap()
}

/// What the crate depends on when it is built for someone else, that is without its own tests.
fn real_dependencies(package: &Package) -> impl Iterator<Item = &Dependency> {
    package.dependencies.iter().filter(|dependency| dependency.kind != DependencyKind::Development)
}

fn package<'a>(metadata: &'a Metadata, named: &str) -> &'a Package {
    metadata.packages.iter().find(|package| folder(package) == named).unwrap()
}

#[test]
fn dependencies_between_our_crates_point_one_way() {
    let metadata = workspace();
    let allowed = BTreeMap::from(ARROWS);
    let folders: BTreeMap<_, _> =
        metadata.packages.iter().map(|package| (package.name.as_str(), folder(package))).collect();
    assert_eq!(
        folders.values().copied().collect::<BTreeSet<_>>(),
        allowed.keys().copied().collect(),
        "a crate came or went: say in ARROWS what it may use"
    );
    for package in &metadata.packages {
        let from = folder(package);
        // Tests' own dependencies are held to it as well: an arrow that tests need is an arrow.
        for to in package
            .dependencies
            .iter()
            .filter_map(|dependency| folders.get(dependency.name.as_str()))
        {
            assert!(*to == from || allowed[from].contains(to), "{from} must not depend on {to}");
        }
    }
}

#[test]
fn the_domain_is_pure() {
    let metadata = workspace();
    let domain = package(&metadata, "domain");
    for dependency in real_dependencies(domain) {
        let name = dependency.name.as_str();
        assert!(DOMAIN_MAY_USE.contains(&name), "domain must not depend on {name}");
        assert!(
            name != "mockall" || dependency.optional,
            "mockall must stay behind a feature of domain"
        );
    }
}

#[test]
fn the_application_knows_no_technology() {
    let metadata = workspace();
    for dependency in real_dependencies(package(&metadata, "application")) {
        let name = dependency.name.as_str();
        assert!(
            name == "doorstep-domain" || APPLICATION_MAY_USE.contains(&name),
            "application must not depend on {name}"
        );
        assert!(
            name != "shuttle" || dependency.optional,
            "shuttle must stay behind a feature of application"
        );
        if name == "tokio" {
            for feature in &dependency.features {
                let feature = feature.as_str();
                assert!(
                    APPLICATION_MAY_USE_OF_TOKIO.contains(&feature),
                    "application must not use tokio's {feature}"
                );
            }
        }
    }
}

#[test]
fn every_crate_keeps_the_workspaces_lints() {
    for package in &workspace().packages {
        let manifest = fs::read_to_string(&package.manifest_path).unwrap();
        assert!(
            manifest.contains("[lints]\nworkspace = true"),
            "{} goes without our lints",
            package.name
        );
    }
}

#[test]
fn the_top_level_stays_tidy() {
    let metadata = workspace();
    let names: BTreeSet<String> = fs::read_dir(&metadata.workspace_root)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    for name in &names {
        let expected = TOP_LEVEL.contains(&name.as_str())
            || NOT_COMMITTED.contains(&name.as_str())
            || name.starts_with("LICENSE-")
            || name.starts_with('.')
            // What `cargo run` leaves in the working directory: the default database.
            || name.starts_with("doorstep.db");
        assert!(
            expected,
            "{name} does not belong at the top level: put it into the crate it belongs to"
        );
    }
    for name in MUST_EXIST {
        assert!(names.contains(name), "{name} is missing at the top level");
    }
}

/// Every Rust file under a folder of the repository, with its text.
fn sources(folder: &str) -> Vec<(String, String)> {
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(folder)];
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push((path.display().to_string(), fs::read_to_string(path).unwrap()));
            }
        }
    }
    assert!(!found.is_empty(), "there is nothing in {folder}");
    found
}

/// What the machinery may use of our own crates: how callers are authenticated, moments, and a store that fails.
const MACHINERY_MAY_USE: [&str; 5] = [
    "doorstep_application::NotAuthenticated",
    "doorstep_application::publishing::ServiceKeys",
    "doorstep_application::{Authenticator, Caller}",
    "doorstep_domain::Timestamp",
    "doorstep_domain::ports::StoreError",
];

#[test]
fn the_http_machinery_knows_no_endpoint_and_no_rule_of_the_business() {
    for (file, text) in sources("adapters/src/http") {
        for line in text.lines().filter(|line| !line.trim_start().starts_with("//")) {
            let ours = ["crate::", "doorstep_"].iter().any(|ours| line.contains(ours));
            let allowed = MACHINERY_MAY_USE.iter().any(|allowed| line.contains(allowed))
                || line.contains("crate::http");
            assert!(!ours || allowed, "{file} must not use this: {line}");
        }
        // An endpoint's path belongs to the endpoint; `/openapi.json` is the machinery's own.
        assert!(!text.contains(".route(\"/v1"), "{file} has a route of an endpoint");
    }
}
