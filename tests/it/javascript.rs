//! The JavaScript client in Node, against the real server and as the published package.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use doorstep_tests::browser::target_dir;
use doorstep_tests::server::{Doorstep, SqliteFile};
use tempfile::TempDir;
use tokio::process::Command;

/// The options of strict TypeScript, without any environment's types.
const STRICT: [&str; 8] = [
    "--noEmit",
    "--strict",
    "--noUncheckedIndexedAccess",
    "--exactOptionalPropertyTypes",
    "--target",
    "es2022",
    "--module",
    "nodenext",
];

fn web() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../app/web"))
}

fn js() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/js"))
}

fn typescript() -> PathBuf {
    target_dir().join("npm/node_modules/typescript")
}

/// Runs a command, which must succeed. Returns its standard output.
async fn run(command: &mut Command) -> String {
    let output = command.output().await.expect("it starts; tests/run.sh installs what is run here");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}:\n{said}\n{complaint}");
    said
}

#[tokio::test]
async fn its_own_tests_pass_against_the_real_server() {
    let database = SqliteFile::new();
    let server = Doorstep::serve(&database.url()).start().await;
    for tests in ["doorstep", "arrivals", "network", "types"] {
        let said = run(Command::new("node")
            // Node 20 needs this flag for its WebSocket; later versions do not.
            .args(["--experimental-websocket", "--test", "--test-reporter=spec"])
            .arg(js().join(tests).with_extension("test.mjs"))
            .env("DOORSTEP_URL", server.url())
            .env("TYPESCRIPT", typescript()))
        .await;
        assert!(!said.contains("tests 0\n"), "{said}");
    }
}

/// Packs the package as `npm publish` would and installs it in a folder. Returns the folder and the packed files.
async fn installed() -> (TempDir, Vec<String>) {
    let folder = tempfile::tempdir().unwrap();
    let pack = ["pack", "--json", "--pack-destination"];
    let packed = run(Command::new("npm").args(pack).arg(folder.path()).current_dir(web())).await;
    let packed: serde_json::Value = serde_json::from_str(&packed).unwrap();
    let files = packed[0]["files"].as_array().unwrap().iter();
    let mut files: Vec<_> = files.map(|file| file["path"].as_str().unwrap().to_owned()).collect();
    files.sort_unstable();
    let tarball = folder.path().join(packed[0]["filename"].as_str().unwrap());
    let install = ["install", "--offline", "--no-audit", "--no-fund", "--prefix"];
    run(Command::new("npm").args(install).arg(folder.path()).arg(tarball)).await;
    (folder, files)
}

#[tokio::test]
async fn the_package_has_what_is_published_and_can_be_installed_and_imported() {
    let (folder, packed) = installed().await;
    let made = ["doorstep.cjs", "doorstep.d.cts"];
    let expected = ["README.md", made[0], made[1], "doorstep.d.ts", "doorstep.js", "package.json"];
    assert_eq!(packed, expected);
    let there = |file: &str| {
        let path = folder.path().join("node_modules/doorstep-client").join(file);
        std::fs::read_to_string(path).unwrap()
    };
    for file in packed.iter().filter(|file| !made.contains(&file.as_str())) {
        assert_eq!(there(file), std::fs::read_to_string(web().join(file)).unwrap());
    }
    // The CommonJS entry differs from the module only in its export statements, and its types are the same.
    let body = there("doorstep.js").replace("\nexport class ", "\nclass ");
    let exports = "\nmodule.exports = { Doorstep, EventParser };\n";
    assert_eq!(there(made[0]), format!("\"use strict\";\n{body}{exports}"));
    assert_eq!(there(made[1]), there("doorstep.d.ts"));
    let database = SqliteFile::new();
    let server = Doorstep::serve(&database.url()).start().await;
    let four_lines = r#"
        const [url, token] = process.argv.slice(2);
        const door = new Doorstep({ url, token });
        door.on("welcome", ({ payload }) => { console.log(payload.username); door.close(); });
        door.connect();"#;
    // As an ES module, and as CommonJS, which Jest and many backends load.
    for (file, import) in [
        ("five-lines.mjs", r#"import { Doorstep } from "doorstep-client";"#),
        ("five-lines.cjs", r#"const { Doorstep } = require("doorstep-client");"#),
    ] {
        let user =
            doorstep_tests::client::User::register(server.url(), &file.replace('.', "-")).await;
        std::fs::write(folder.path().join(file), format!("{import}{four_lines}")).unwrap();
        let said = run(Command::new("node")
            .args([file, server.url(), &user.token])
            .current_dir(folder.path()))
        .await;
        assert_eq!(said, format!("{}\n", file.replace('.', "-")));
    }
}

#[tokio::test]
async fn its_types_are_those_of_a_front_end_in_strict_typescript() {
    let (folder, _) = installed().await;
    let compile = async |file: &str, lib: &str| {
        let compiler = typescript().join("bin/tsc");
        let files = ["--lib", lib, file];
        run(Command::new("node").arg(compiler).args(STRICT).args(files).current_dir(folder.path()))
            .await;
    };
    std::fs::copy(js().join("consumer.ts"), folder.path().join("consumer.mts")).unwrap();
    compile("consumer.mts", "es2022").await;
    // Also in a CommonJS project with `module: node16`, in which `import` becomes `require`.
    let project = folder.path().join("commonjs");
    std::fs::create_dir(&project).unwrap();
    std::fs::write(project.join("package.json"), r#"{"type":"commonjs"}"#).unwrap();
    std::fs::copy(js().join("consumer.ts"), project.join("consumer.ts")).unwrap();
    run(Command::new("node")
        .arg(typescript().join("bin/tsc"))
        .args(STRICT)
        .args(["--module", "node16", "--lib", "es2022", "commonjs/consumer.ts"])
        .current_dir(folder.path()))
    .await;
    // Each example of the README, with the declarations that it assumes.
    let readme = std::fs::read_to_string(web().join("README.md")).unwrap();
    let around = "declare const token: string; declare function toast(text: string): void; \
                  declare function getToken(): Promise<string>; declare function renewToken(): Promise<string>; declare function signIn(): Promise<void>; export {};\n";
    let mut examples = 0;
    for (number, block) in readme.split("```").skip(1).step_by(2).enumerate() {
        let Some(code) = ["js\n", "ts\n"].iter().find_map(|name| block.strip_prefix(name)) else {
            continue;
        };
        let file = format!("example-{number}.mts");
        let mut text = around.to_owned();
        // A stand-in for the `ws` package, which is not installed.
        if code.contains("from \"ws\"") {
            let ws =
                "export default class WebSocket { constructor(url: string, protocols: string[]) }";
            let folder = folder.path().join("node_modules/ws");
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(folder.join("package.json"), r#"{"type":"module","types":"ws.d.ts"}"#)
                .unwrap();
            std::fs::write(folder.join("ws.d.ts"), ws).unwrap();
        }
        write!(text, "{code}").unwrap();
        std::fs::write(folder.path().join(&file), text).unwrap();
        compile(&file, "es2022,dom").await;
        examples += 1;
    }
    assert!(examples >= 3, "{examples} examples in the README");
}

#[tokio::test]
async fn the_binary_serves_it() {
    let database = SqliteFile::new();
    // Also without the page: a backend's front end loads the client from here.
    for trading in ["true", "false"] {
        let server = Doorstep::serve(&database.url())
            .env("DOORSTEP_TRADING__ENABLED", trading)
            .env("DOORSTEP_SERVER__ALLOWED_ORIGINS", "https://app.example")
            .start()
            .await;
        let ask = async |origin: &str| {
            let url = format!("{}/doorstep.js", server.url());
            reqwest::Client::new().get(url).header("origin", origin).send().await.unwrap()
        };
        let stranger = ask("https://else.example").await;
        assert_eq!(stranger.headers().get("access-control-allow-origin"), None);
        let answer = ask("https://app.example").await;
        assert_eq!(answer.headers()["access-control-allow-origin"], "https://app.example");
        assert_eq!(answer.headers()["content-type"], "text/javascript; charset=utf-8");
        let ours = std::fs::read_to_string(web().join("doorstep.js")).unwrap();
        assert_eq!(answer.text().await.unwrap(), ours);
    }
}
