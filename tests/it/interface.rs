//! The public interface of the libraries, compared with the reviewed text in `tests/api`.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use cargo_metadata::MetadataCommand;
use public_api::Builder;
use serde::Deserialize;

/// What writes the files again.
const REWRITE: &str = "UPDATE_API=1 cargo test -p doorstep-tests --test it interface";

/// The libraries that promise an interface, each with its file.
const LIBRARIES: [(&str, &str); 3] =
    [("domain", "domain.txt"), ("application", "application.txt"), ("contract", "contract.txt")];

/// What a user of the libraries may enable. Mocks and the simulation's seed promise nothing.
const FEATURES: &str = "doorstep-domain/ids,doorstep-domain/serde,doorstep-domain/std-clock";

/// The formats of rustdoc's JSON that the crate `public-api` in Cargo.lock reads. When you update it, try them.
const READABLE: std::ops::RangeInclusive<u32> = 57..=59;

#[derive(Deserialize)]
struct FormatOnly {
    format_version: u32,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Lets rustdoc write JSON for [`LIBRARIES`], and returns the folder. Only rustdoc is allowed its unstable options, by a
/// script: with that variable in cargo's own environment, every dependency would be built again.
fn described_by_rustdoc() -> PathBuf {
    let mut metadata = MetadataCommand::new();
    metadata.manifest_path(root().join("Cargo.toml")).no_deps();
    let target = metadata.other_options(["--offline".to_owned()]).exec().unwrap().target_directory;

    let folder = tempfile::tempdir().unwrap();
    let rustdoc = folder.path().join("rustdoc");
    fs::write(&rustdoc, "#!/bin/sh\nRUSTC_BOOTSTRAP=1 exec \"$REAL_RUSTDOC\" \"$@\"\n").unwrap();
    fs::set_permissions(&rustdoc, fs::Permissions::from_mode(0o755)).unwrap();

    let mut cargo = Command::new(env!("CARGO"));
    cargo.current_dir(root()).args(["doc", "--locked", "--offline", "--no-deps", "--lib"]);
    for (library, _) in LIBRARIES {
        cargo.arg("-p").arg(format!("doorstep-{library}"));
    }
    cargo.args(["--features", FEATURES]);
    let real = std::env::var_os("RUSTDOC").unwrap_or_else(|| "rustdoc".into());
    cargo.env("REAL_RUSTDOC", real).env("RUSTDOC", rustdoc);
    cargo.env("RUSTDOCFLAGS", "-Z unstable-options --output-format json");
    let done = cargo.output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    target.join("doc").into()
}

/// The interface as text: one item per line, sorted.
///
/// A trait of the standard library has one line per type: its methods say nothing more.
fn interface(json: &Path) -> String {
    let api = Builder::from_rustdoc_json(json)
        .omit_blanket_impls(true)
        .omit_auto_trait_impls(true)
        .build()
        .unwrap();
    let (mut text, mut in_known_trait) = (String::new(), false);
    for line in api.items().map(ToString::to_string) {
        if line.starts_with("impl") {
            in_known_trait = is_of_known_trait(&line);
        } else if !line.starts_with("pub fn") {
            in_known_trait &= line.starts_with("pub type");
        } else if in_known_trait {
            continue;
        }
        // What a derived `PartialEq` has for patterns: nobody can name it.
        if !line.contains("core::marker::StructuralPartialEq for") {
            writeln!(text, "{line}").unwrap();
        }
    }
    text
}

/// Whether this is `impl Trait for Type` with a trait of the standard library or serde.
fn is_of_known_trait(line: &str) -> bool {
    let before = line.split_once(" for ").map(|(before, _)| before);
    let named = before.and_then(|before| before.rsplit(' ').next()).unwrap_or_default();
    ["core::", "alloc::", "std::", "serde_core::"].iter().any(|krate| named.starts_with(krate))
}

/// The lines that only one of two texts has: `-` the reviewed one, `+` the present one.
fn difference(reviewed: &str, present: &str) -> String {
    let mut text = String::new();
    for (sign, of, other) in [('-', reviewed, present), ('+', present, reviewed)] {
        let other: BTreeSet<&str> = other.lines().collect();
        for line in of.lines().filter(|line| !other.contains(line)) {
            writeln!(text, "{sign} {line}").unwrap();
        }
    }
    text
}

/// Why a description cannot be read, if it cannot.
fn unreadable(format: u32, compiler: &str) -> Option<String> {
    (!READABLE.contains(&format)).then(|| {
        let (first, last) = (READABLE.start(), READABLE.end());
        format!(
            "rustc {compiler} describes crates in format {format} of rustdoc's JSON, and `public-api` in Cargo.lock \
             reads {first} to {last}. Use rustc {} for this test, or a version of `public-api` for format {format}",
            env!("CARGO_PKG_RUST_VERSION")
        )
    })
}

/// The version of the compiler, such as `1.95.0`.
fn compiler() -> String {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let said = Command::new(rustc).arg("--version").output().unwrap().stdout;
    let said = String::from_utf8(said).unwrap();
    said.split(' ').nth(1).unwrap_or("unknown").to_owned()
}

/// Whether a version of the compiler is the workspace's `rust-version`, which the files were written with.
fn is_ours(compiler: &str) -> bool {
    compiler.strip_prefix(env!("CARGO_PKG_RUST_VERSION")).is_some_and(|rest| rest.starts_with('.'))
}

#[test]
fn the_interface_is_the_reviewed_one() {
    let (folder, compiler) = (described_by_rustdoc(), compiler());
    let (ours, mut different) = (is_ours(&compiler), String::new());
    for (library, file) in LIBRARIES {
        let described = folder.join(format!("doorstep_{library}.json"));
        let FormatOnly { format_version } =
            serde_json::from_slice(&fs::read(&described).unwrap()).unwrap();
        if let Some(why) = unreadable(format_version, &compiler) {
            assert!(!ours, "{why}");
            // Not through `eprintln`, which shows the lines of failed tests only.
            let _ = writeln!(std::io::stderr(), "THE PUBLIC INTERFACE IS NOT COMPARED: {why}.");
            return;
        }
        let path = root().join("tests/api").join(file);
        let present = format!(
            "# The public interface of doorstep-{library}. A change here is a change for its users: say it in \
             docs/changelog.md.\n# Written by: {REWRITE}\n{}",
            interface(&described)
        );
        let reviewed = fs::read_to_string(&path).unwrap_or_default();
        if std::env::var_os("UPDATE_API").is_some() {
            fs::write(&path, present).unwrap();
        } else if reviewed != present {
            let lines = difference(&reviewed, &present);
            write!(different, "tests/api/{file}:\n{lines}").unwrap();
        }
    }
    let note = if ours {
        String::new()
    } else {
        let ours = env!("CARGO_PKG_RUST_VERSION");
        format!(
            "\nThis is rustc {compiler}, and the files are of {ours}: lines that name only `core`, `alloc` or `std` \
                 may differ for that reason alone."
        )
    };
    assert!(
        different.is_empty(),
        "the public interface is not the reviewed one:\n{different}\nIf that is what you want, write the files again, and \
         review them: {REWRITE}{note}"
    );
}

#[test]
fn an_unknown_format_is_named() {
    assert_eq!(
        (unreadable(57, "1.95.0"), is_ours("1.95.0"), is_ours("1.950.0")),
        (None, true, false)
    );
    let why = unreadable(60, "1.99.0").unwrap();
    assert!(
        why.contains("1.99.0") && why.contains("format 60") && why.contains("57 to 59"),
        "{why}"
    );
}

#[test]
fn an_implementation_of_a_known_trait_is_recognised() {
    assert!(is_of_known_trait("impl<'a> core::fmt::Debug for ours::Type<'a>"));
    assert!(!is_of_known_trait("impl ours::Trait for ours::Type"));
    assert!(!is_of_known_trait("impl<T: core::fmt::Debug> ours::Type<T>"));
}

#[test]
fn a_difference_has_only_the_lines_that_differ() {
    assert_eq!(difference("a\nb\n", "b\nc\n"), "- a\n+ c\n");
}
