//! schemathesis makes requests from `/openapi.json`, valid and invalid ones, sends them to the real server and holds
//! its responses against the description. Other than `backends/openapi.rs`, it knows no endpoint.
//!
//! The seed is random, and printed when the test fails; `SCHEMATHESIS_SEED` plays it again.

use std::process::Stdio;

use doorstep_tests::browser::target_dir;
use doorstep_tests::client::User;
use tempfile::TempDir;
use tokio::process::Command;

use crate::backends::{BARE, Door};

/// What is judged. Whether valid data is accepted is not: schemathesis cannot know which names are taken, which
/// instruments there are, and what a user can afford.
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,\
    response_headers_conformance,response_schema_conformance,missing_required_header,unsupported_method,\
    allow_header_conformance,ignored_auth";

/// How many requests each operation gets per phase, apart from the boundary values, whose number is fixed.
const EXAMPLES: &str = "15";

/// `wait=60` would hold each publish for up to a minute.
const HOOKS: &str = "
import schemathesis

@schemathesis.hook
def before_call(context, case, kwargs):
    wait = case.query.get('wait') if case.query else None
    if isinstance(wait, (int, float)) and wait > 0 and wait <= 60:
        case.query['wait'] = 0
";

/// The limits by address are off, because all requests come from one address.
const UNLIMITED: &str = "[limits]\nregistrations_per_second = 0\nsign_ins_per_second = 0\n";

struct Schemathesis {
    folder: TempDir,
    url: String,
}

impl Schemathesis {
    /// Against this server, with the tokens of this user and of the backend.
    fn new(door: &Door, user: &User) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let bearer =
            |scheme: &str, token: &str| format!("[auth.openapi.{scheme}]\nbearer = {token:?}\n");
        let config = bearer("token", &user.token) + &bearer("service_key", &door.backend.key);
        std::fs::write(folder.path().join("schemathesis.toml"), config).unwrap();
        std::fs::write(folder.path().join("hooks.py"), HOOKS).unwrap();
        Self { folder, url: door.server.url().to_owned() }
    }

    /// Runs it on the operations that these arguments select.
    async fn run(&self, operations: &[&str]) {
        let mut command = Command::new(target_dir().join("python/bin/python3"));
        command
            .args([
                "-m",
                "schemathesis.cli",
                "--config-file",
                "schemathesis.toml",
                "run",
                "--no-color",
                "--checks",
                CHECKS,
            ])
            .args(["--max-examples", EXAMPLES, "--continue-on-failure", "--no-shrink"])
            .args(["--generation-database", "none", "--request-timeout", "30", "--warnings", "off"])
            .args(["--url", &self.url])
            .args(operations);
        if let Ok(seed) = std::env::var("SCHEMATHESIS_SEED") {
            command.args(["--seed", &seed]);
        }
        let ran = command
            .arg(format!("{}/openapi.json", self.url))
            .current_dir(self.folder.path())
            .env("SCHEMATHESIS_HOOKS", "hooks")
            .env("PYTHONPATH", self.folder.path())
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output()
            .await
            .expect("schemathesis is there: tests/run.sh installs it");
        let [said, errors] =
            [ran.stdout, ran.stderr].map(|out| String::from_utf8_lossy(&out).into_owned());
        println!("{said}{errors}");
        assert!(ran.status.success(), "schemathesis found something: see above");
    }

    /// Runs it on all operations that can take any request.
    async fn run_on_all(&self) {
        self.run(&[
            // A stream has no end, and schemathesis waits for it. `backends/openapi.rs` checks its response.
            "--exclude-path",
            "/v1/notifications/stream",
            // Ends the session that the others need.
            "--exclude-path",
            "/v1/sessions/current",
        ])
        .await;
    }
}

#[tokio::test]
async fn schemathesis_finds_nothing_in_the_whole_service() {
    let door = Door::with(UNLIMITED).await;
    let user = User::register(door.server.url(), "ada").await;
    let schemathesis = Schemathesis::new(&door, &user);
    schemathesis.run_on_all().await;
    schemathesis.run(&["--include-path", "/v1/sessions/current"]).await;
}

#[tokio::test]
async fn schemathesis_finds_nothing_at_the_door_alone() {
    let door = Door::with(BARE).await;
    Schemathesis::new(&door, &door.user("ada")).run_on_all().await;
}
