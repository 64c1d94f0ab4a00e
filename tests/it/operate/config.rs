//! The configuration as a file, as a schema, and as the faults of a file.

use std::process::Stdio;

use doorstep_tests::browser::target_dir;
use doorstep_tests::server::{Doorstep, Finished};
use tokio::process::Command;

#[tokio::test]
async fn the_default_file_is_accepted() {
    let default = Doorstep::new(&["config", "--default"]).run().await;
    assert_eq!(default.code, Some(0), "{}", default.stderr);
    let call = Doorstep::new(&["config", "--check", "--config", "own.toml"]);
    let checked = call.file("own.toml", &default.stdout).run().await;
    assert_eq!(checked.code, Some(0), "{}", checked.stderr);
}

#[tokio::test]
async fn all_faults_are_named_at_once() {
    let (unknown, more) = (
        "[delivery]\nttl = \"soon\"\npolicy = 7\n[limits]\nmany = 1\n",
        "[jwt]\njwks_url = \"ftp://x\"\n[jwt.keys.a]\nkey_file = \"none\"\n[webhook]\nsecret = \"x\"\n\
         [server.tls]\ncert = \"none.pem\"\nkey = \"none.key\"\n",
    );
    for (file, parts) in [
        (unknown, &["delivery.ttl", "delivery.policy", "limits.many"][..]),
        (more, &["jwt.jwks_url", "jwt.keys.a", "webhook.secret", "none.pem"]),
    ] {
        let call = Doorstep::new(&["config", "--check"]).file("doorstep.toml", file);
        let Finished { code, stderr, .. } = call.run().await;
        assert_eq!(code, Some(2), "{stderr}");
        for part in parts {
            assert!(stderr.contains(part), "no {part}: {stderr}");
        }
    }
}

/// Reads the schema, the default file and the file with every default uncommented. For every value that the schema
/// describes, one of another type is put in its place, and must be refused.
const VALIDATE: &str = r#"
import copy, json, re, sys
try:
    import tomllib
except ImportError:  # Before Python 3.11.
    import tomli as tomllib
from jsonschema import Draft202012Validator

schema, text = json.load(open("schema.json")), open("default.toml").read()
Draft202012Validator.check_schema(schema)
validator = Draft202012Validator(schema)
validator.validate(tomllib.loads(text))
full = tomllib.loads(re.sub(r"(?m)^#(?=[a-z])", "", text))
validator.validate(full)
count = 0
def visit(table, path):
    global count
    for name, value in table.items():
        if isinstance(value, dict):
            visit(value, path + [name])
            continue
        wrong = copy.deepcopy(full)
        there = wrong
        for segment in path:
            there = there[segment]
        for bad in [{}, 1.5, "?[" if not isinstance(value, str) else 7]:
            there[name] = bad
            assert not validator.is_valid(wrong), (path, name, bad)
        there[name] = value
        there[name + "_"] = value
        assert not validator.is_valid(wrong), (path, name, "unknown")
        count += 1
visit(full, [])
print(count)
"#;

#[tokio::test]
async fn the_schema_accepts_the_defaults_and_refuses_other_types() {
    let folder = tempfile::tempdir().unwrap();
    for (flag, name) in [("--schema", "schema.json"), ("--default", "default.toml")] {
        let printed = Doorstep::new(&["config", flag]).run().await;
        assert_eq!(printed.code, Some(0), "{}", printed.stderr);
        std::fs::write(folder.path().join(name), printed.stdout).unwrap();
    }
    let run = Command::new(target_dir().join("python/bin/python3"))
        .args(["-c", VALIDATE])
        .current_dir(folder.path())
        .stdin(Stdio::null())
        .output()
        .await
        .unwrap();
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    let count: usize = String::from_utf8_lossy(&run.stdout).trim().parse().unwrap();
    assert!(count > 50, "{count} settings");
}
