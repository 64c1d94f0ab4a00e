//! The commands as people and shells use them: closed pipes, terminals, options in any position, and errors that
//! say what to do.

use std::process::Stdio;

use doorstep_tests::client::User;
use doorstep_tests::server::{Doorstep, Finished, SqliteFile, binary};
use tokio::io::AsyncReadExt as _;
use tokio::process::Command;

use crate::backends::BARE;

/// Runs a shell's command line in which `$DOORSTEP` is the binary.
async fn shell(line: &str) -> (Option<i32>, String) {
    let dir = tempfile::tempdir().unwrap();
    let mut child = Command::new("bash")
        .args(["-c", &format!("set -o pipefail; ({line}) 2>&1")])
        .env("DOORSTEP", binary().await)
        .current_dir(dir.path())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut said = String::new();
    child.stdout.take().unwrap().read_to_string(&mut said).await.unwrap();
    (child.wait().await.unwrap().code(), said)
}

#[tokio::test]
async fn a_reader_that_has_gone_is_no_failure() {
    let database = SqliteFile::new();
    let server = Doorstep::serve(&database.url()).start().await;
    User::register(server.url(), "ada").await.has("1000.00").await;
    drop(server);
    // The pipe is closed before anything is written, so there is no race.
    let closed = |command: &str| {
        format!("mkfifo pipe; head -c 0 < pipe & exec 3> pipe; wait; $DOORSTEP {command} >&3 2>&3")
    };
    for command in [
        format!("audit --database {}", database.url()),
        "demo --connect-after 1ms --runs 1".to_owned(),
        "key new shop".to_owned(),
        "config".to_owned(),
        "--help".to_owned(),
    ] {
        let (code, said) = shell(&closed(&command)).await;
        assert_eq!((code, said.as_str()), (Some(0), ""), "{command}");
    }
    // The exit code reports a failure, whether or not the output is read.
    let (code, _) = shell(&closed("audit --database sqlite://none.db")).await;
    assert_eq!(code, Some(1));
    let (code, _) = shell(&closed("listen")).await;
    assert_eq!(code, Some(2));
}

/// The output of a command on a terminal.
async fn on_a_terminal(environment: &str, command: &str) -> String {
    shell(&format!("{environment} script -qec '$DOORSTEP {command}' /dev/null")).await.1
}

#[tokio::test]
async fn no_color_is_honoured() {
    // To get a log line, the environment has a variable that looks like a setting.
    let command = "serve --listen 127.0.0.1:0 --database sqlite:///no/such/folder/x.db";
    let coloured = on_a_terminal("DOORSTEP_STRANGER=1", command).await;
    assert!(coloured.contains("DOORSTEP_STRANGER") && coloured.contains("\u{1b}["), "{coloured:?}");
    let plain = on_a_terminal("NO_COLOR=1 DOORSTEP_STRANGER=1", command).await;
    assert!(plain.contains("DOORSTEP_STRANGER") && !plain.contains('\u{1b}'), "{plain:?}");
}

#[tokio::test]
async fn the_demo_fits_into_80_columns() {
    let Finished { code, stdout, stderr } =
        Doorstep::new(&["demo", "--connect-after", "600ms", "--runs", "2"]).run().await;
    assert_eq!(code, Some(0), "{stderr}");
    let widest = stdout.lines().map(|line| line.chars().count()).max();
    assert!(widest <= Some(80), "{stdout}");
}

#[tokio::test]
async fn options_stand_before_or_after_the_command() {
    for args in [
        &["--config", "other.toml", "config"][..],
        &["config", "--config", "other.toml"],
        &["--config", "other.toml", "--listen", "127.0.0.1:7", "config"],
    ] {
        let call = Doorstep::new(args).file("other.toml", "[delivery]\nttl = \"7s\"");
        let Finished { code, stdout, stderr } = call.run().await;
        assert_eq!(code, Some(0), "{stderr}");
        assert!(stdout.contains("ttl = \"7s\""), "{stdout}");
    }
    let refused = Doorstep::new(&["--listen", "127.0.0.1:7", "demo"]).run().await;
    assert_eq!(refused.code, Some(2));
    assert!(refused.stderr.contains("--listen means nothing to `doorstep demo`"), "{refused:?}");
}

#[tokio::test]
async fn errors_are_about_what_was_typed() {
    // Nothing listens on a port that was free a moment ago.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let gone = format!("http://{free}");
    let bare = Doorstep::new(&["--listen", "127.0.0.1:0"]).file("doorstep.toml", BARE);
    let bare = bare.start().await;
    let cases = [
        (vec!["simulate", "--url", "127.0.0.1:4110"], 1, "is not a URL like http://"),
        (vec!["simulate", "--url", &gone], 1, "nobody listens there"),
        (vec!["simulate", "--url", bare.url()], 1, "has no users to simulate"),
        (
            vec!["listen", "--token", "x", "--url", "127.0.0.1:4110"],
            1,
            "is not a WebSocket URL like",
        ),
        (vec!["listen", "--token", "x", "--url", "nonsense"], 1, "is not a WebSocket URL like"),
        (vec!["listen"], 2, "DOORSTEP_TOKEN"),
        (vec!["listen", "--token", ""], 2, "DOORSTEP_TOKEN"),
    ];
    for (args, code, part) in cases {
        let Finished { code: got, stderr, .. } = Doorstep::new(&args).run().await;
        assert_eq!(got, Some(code), "{args:?}: {stderr}");
        assert!(stderr.contains(part), "{args:?}: {stderr}");
        for raw in
            ["os error", "builder error", "relative URL", "error sending request", "IO error"]
        {
            assert!(!stderr.contains(raw), "{args:?}: {stderr}");
        }
    }
    let mut listener = Doorstep::new(&["listen", "--token", "x", "--url", &gone]).spawn().await;
    listener.logged("nobody listens there; reconnecting", 1).await;
}

#[tokio::test]
async fn a_door_that_opens_no_database_does_not_look_at_its_url() {
    let theirs = "mysql://app:s3cret@db/shop";
    let call = Doorstep::new(&["--listen", "127.0.0.1:0"])
        .file("doorstep.toml", BARE)
        .env("DATABASE_URL", theirs);
    let server = call.start().await;
    let config = Doorstep::new(&["config"]).file("doorstep.toml", BARE).env("DATABASE_URL", theirs);
    let Finished { code, stdout, stderr } = config.run().await;
    assert_eq!(code, Some(0), "{stderr}");
    assert!(!stdout.contains("mysql"), "{stdout}");
    drop(server);
    // A door that opens a database needs its URL, and settings that only concern the database must be valid.
    let needed = Doorstep::serve(theirs).run().await;
    assert_eq!(needed.code, Some(2), "{}", needed.stderr);
    let flag = Doorstep::new(&["--database", theirs]).file("doorstep.toml", BARE).run().await;
    assert_eq!(flag.code, Some(2), "{}", flag.stderr);
}

#[tokio::test]
async fn without_the_simulation_nobody_is_sent_to_a_page_that_is_not_there() {
    let call = Doorstep::new(&["--listen", "127.0.0.1:0"]).file("doorstep.toml", BARE);
    let server = call.start().await;
    let page = reqwest::get(server.url()).await.unwrap();
    assert_eq!(page.status(), 200);
    let kind = page.headers()["content-type"].to_str().unwrap().to_owned();
    let text = page.text().await.unwrap();
    assert!(
        kind.starts_with("text/plain") && text.contains("This is a doorstep"),
        "{kind}: {text}"
    );
    server.terminate();
    let Finished { stderr, .. } = server.wait().await;
    assert!(!stderr.contains("browser") && stderr.contains("doorstep key new"), "{stderr}");
}
