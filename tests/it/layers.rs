//! The rules of the workspace that the compiler does not check: which crate may depend on which, where files belong,
//! and which names and words they must not use.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use cargo_metadata::{Dependency, DependencyKind, Metadata, MetadataCommand, Package};

/// Our crates by folder, each with those of our crates that it may use: app -> adapters -> application -> domain.
const ARROWS: [(&str, &[&str]); 6] = [
    ("domain", &[]),
    ("application", &["domain"]),
    ("adapters", &["domain", "application"]),
    ("app", &["domain", "application", "adapters"]),
    // What an adapter's author compiles: nothing of the service.
    ("contract", &["domain", "application"]),
    ("tests", &["domain", "application", "adapters", "app", "contract"]),
];

/// Everything the domain may depend on: no async runtime, no I/O. `mockall` only behind its feature.
const DOMAIN_MAY_USE: [&str; 6] =
    ["async-trait", "mockall", "serde", "serde_json", "thiserror", "uuid"];

/// Everything the application may depend on besides the domain: an async runtime, but no adapter's technology.
const APPLICATION_MAY_USE: [&str; 12] = [
    "async-trait",
    "futures-util",
    "foldhash",
    "hashbrown",
    "prost", // The bytes of entries in the log between nodes: pure, and the same for every log.
    "serde",
    "shuttle", // With `--cfg shuttle`: the model checker's mutex in place of the standard library's.
    "slab",
    "thiserror",
    "tokio",
    "tokio-util",
    "tracing",
];

/// The features of tokio that the application may enable: no sockets, files, processes or signals.
const APPLICATION_MAY_USE_OF_TOKIO: [&str; 4] = ["macros", "rt-multi-thread", "sync", "time"];

/// The entries of the top level, besides dot-files and licences.
const TOP_LEVEL: [&str; 11] = [
    "ARCHITECTURE.md",
    "Cargo.lock",
    "Cargo.toml",
    "README.md",
    "README.zh-CN.md",
    "adapters",
    "app",
    "application",
    "docs",
    "domain",
    "tests",
];

/// Written by builds, and ignored by git.
const NOT_COMMITTED: [&str; 3] = ["target", "doorstep.cjs", "doorstep.d.cts"];

/// Those of the top level that must exist.
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

/// The folder of one of our crates, which is its name in the rules above.
fn folder(package: &Package) -> &str {
    package.manifest_path.parent().and_then(|dir| dir.file_name()).unwrap()
}

/// The crate's dependencies without those of its tests.
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
        "a crate was added or removed: update ARROWS"
    );
    for package in &metadata.packages {
        let from = folder(package);
        // This includes the dependencies of tests.
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
            name != "shuttle" || dependency.target.is_some(),
            "shuttle must stay behind a cfg of application"
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
            "{} does not use the workspace's lints",
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
            // The default database, which `cargo run` creates in the working directory.
            || name.starts_with("doorstep.db");
        assert!(expected, "{name} does not belong at the top level: move it into its crate");
    }
    for name in MUST_EXIST {
        assert!(names.contains(name), "{name} is missing at the top level");
    }
}

/// Every text file under a folder of the repository, with its text. Build products and git's own files are left out.
pub(crate) fn texts(folder: &str) -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut folders = vec![root.join(folder)];
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap();
            if name == ".git" || NOT_COMMITTED.contains(&name) {
                continue;
            }
            if path.is_dir() {
                folders.push(path);
            } else if let Ok(text) = fs::read_to_string(&path) {
                found.push((path.strip_prefix(&root).unwrap().display().to_string(), text));
            }
        }
    }
    assert!(!found.is_empty(), "there is nothing in {folder}");
    found
}

/// Every Rust file under a folder of the repository, with its text.
fn sources(folder: &str) -> Vec<(String, String)> {
    let mut files = texts(folder);
    files.retain(|(file, _)| Path::new(file).extension().is_some_and(|ext| ext == "rs"));
    files
}

/// What the HTTP machinery may use of our own crates: authentication, timestamps, traces, and errors of the stores.
const MACHINERY_MAY_USE: [&str; 6] = [
    "doorstep_application::NotAuthenticated",
    "doorstep_application::publishing::ServiceKeys",
    "doorstep_application::{Authenticator, Caller}",
    "doorstep_domain::Timestamp",
    "doorstep_domain::TraceParent",
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

/// The name of the type that a line defines, if the line is at the top level and other files can use the type.
fn shared_type(line: &str) -> Option<&str> {
    let rest = line.strip_prefix("pub")?;
    let rest = match rest.strip_prefix('(') {
        Some(restricted) => restricted.split_once(')')?.1,
        None => rest,
    };
    let (keyword, name) = rest.trim_start().split_once(' ')?;
    let is_type = ["struct", "enum", "trait", "type", "union"].contains(&keyword);
    is_type.then(|| name.split(|letter: char| !letter.is_alphanumeric()).next()).flatten()
}

#[test]
fn a_type_name_means_one_thing_in_all_crates() {
    let mut crates = BTreeMap::<String, BTreeSet<&str>>::new();
    for folder in ["domain", "application", "adapters", "app"] {
        for (_, text) in sources(&format!("{folder}/src")) {
            for name in text.lines().filter_map(shared_type) {
                crates.entry(name.to_owned()).or_default().insert(folder);
            }
        }
    }
    for (name, folders) in &crates {
        assert!(folders.len() == 1, "{name} is a type in {folders:?}: rename all but one");
    }
    assert_eq!(shared_type("pub(in crate::x) struct Some<T>(T);"), Some("Some"));
    assert_eq!(shared_type("    pub struct Nested;"), None);
}

/// The names of the documents that a line refers to. An address on the web is not one of them.
fn documents(line: &str) -> impl Iterator<Item = &str> {
    let words = line.split(|c: char| !(c.is_alphanumeric() || "-_./:".contains(c)));
    let words =
        words.map(|word| word.trim_end_matches(['.', ':'])).filter(|word| !word.contains("://"));
    words
        .filter(|word| word.strip_suffix(".md").is_some_and(|stem| !stem.is_empty()))
        .filter_map(|word| word.rsplit('/').next())
}

#[test]
fn the_documents_of_a_line_are_found() {
    let line = "See [docs/wire.md](docs/wire.md), README.md: and https://example.com/other.md.";
    assert_eq!(documents(line).collect::<Vec<_>>(), ["wire.md", "wire.md", "README.md"]);
}

#[test]
fn every_document_that_is_referred_to_is_here() {
    let texts = texts(".");
    let name = |path: &str| path.rsplit('/').next().map(str::to_owned);
    let here: BTreeSet<String> = texts.iter().filter_map(|(path, _)| name(path)).collect();
    for (file, text) in &texts {
        for (number, line) in (1..).zip(text.lines()) {
            for document in documents(line) {
                assert!(here.contains(document), "{file}:{number}: {document} is not here");
            }
        }
    }
}
