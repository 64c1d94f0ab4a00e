//! The process as its operator sees it: configuration, exit codes, messages and the graceful stop. Also its main
//! job, over the real wire.

use doorstep_tests::client::User;
use doorstep_tests::server::{Doorstep, Finished, SqliteFile};
use sqlx::{Connection, Executor};

/// A registration makes this many notifications, and the log has one line for the end of each.
const NEWS: usize = 2;

/// Runs a call that must end with this code and with these parts on standard error.
async fn check_refused(call: Doorstep, code: i32, parts: &[&str]) {
    let Finished { code: got, stderr, .. } = call.run().await;
    assert_eq!(got, Some(code), "{stderr}");
    for part in parts {
        assert!(stderr.contains(part), "no {part:?} in:\n{stderr}");
    }
    assert!(!stderr.contains("panicked") && !stderr.contains("backtrace"), "{stderr}");
    assert!(!stderr.contains("s3cret"), "{stderr}");
}

#[tokio::test]
async fn it_prints_one_line_serves_and_stops_as_asked() {
    let database = SqliteFile::new();
    let server = Doorstep::serve(&database.url()).start().await;
    let live = reqwest::get(format!("{}/health/live", server.url())).await.unwrap();
    assert!(live.status().is_success());
    let url = server.url().to_owned();
    server.terminate();
    let Finished { code, stdout, stderr } = server.wait().await;
    assert_eq!(code, Some(0), "{stderr}");
    assert_eq!(stdout, format!("listening on {url}"));
}

#[tokio::test]
async fn a_request_has_an_id_where_log_lines_carry_it() {
    for (level, has_one) in [("info", true), ("warn", false)] {
        let database = SqliteFile::new();
        let server = Doorstep::serve(&database.url()).env("DOORSTEP_LOG", level).start().await;
        let live = reqwest::get(format!("{}/health/live", server.url())).await.unwrap();
        assert_eq!(live.headers().contains_key("x-request-id"), has_one, "{level}");
    }
}

#[tokio::test]
async fn a_bare_doorstep_serves_from_its_working_folder() {
    let call = Doorstep::new(&["--listen", "127.0.0.1:0"]);
    let server = call.start().await;
    User::register(server.url(), "ada").await;
    assert!(call.dir().join("doorstep.db").exists());
}

#[tokio::test]
async fn a_stop_tells_the_connections_to_come_back() {
    let database = SqliteFile::new();
    let server = Doorstep::serve(&database.url()).start().await;
    let user = User::register(server.url(), "ada").await;
    let mut socket = user.connect("doorstep.plain.v1").await;
    socket.kinds(NEWS).await;
    server.terminate();
    assert_eq!(socket.close_code().await, 1012);
    assert_eq!(server.wait().await.code, Some(0));
}

#[tokio::test]
async fn wrong_usage_and_wrong_configuration_end_with_2() {
    check_refused(Doorstep::new(&["fly"]), 2, &["fly", "--help"]).await;
    check_refused(
        Doorstep::new(&["--listen", "here"]),
        2,
        &["listen = \"here\" (flag --listen): expected an address and a port"],
    )
    .await;
    check_refused(
        Doorstep::new(&["serve"])
            .file("doorstep.toml", "[delivery]\npolicy = \"sometimes\"\ntll = \"1s\"")
            .env("DOORSTEP_DELIVERY__TTL", "soon")
            .env("DATABASE_URL", "mysql://u:s3cret@h/d"),
        2,
        &[
            "delivery.policy = \"sometimes\" (file doorstep.toml): expected immediate, deferred or inbox",
            "delivery.tll (file doorstep.toml): unknown key",
            "delivery.ttl = \"soon\" (environment DOORSTEP_DELIVERY__TTL): expected a duration",
            "database = \"mysql://u:***@h/d\" (environment DATABASE_URL): expected",
        ],
    )
    .await;
    check_refused(Doorstep::new(&["--config", "none.toml"]), 2, &["none.toml", "cannot be read"])
        .await;
}

#[tokio::test]
async fn failures_at_the_start_exit_with_1_and_say_what_to_do() {
    // Nothing listens on a port that was free a moment ago.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let url = format!("postgres://u:s3cret@{free}/d");
    check_refused(Doorstep::serve(&url), 1, &[&free.to_string(), "cannot be reached"]).await;
    check_refused(Doorstep::new(&["audit", "--database", &url]), 1, &["cannot be reached"]).await;
    check_refused(Doorstep::serve("sqlite:///no/such/folder/x.db"), 1, &["/no/such/folder/x.db"])
        .await;
    check_refused(Doorstep::new(&["audit"]), 1, &["there is no database doorstep.db"]).await;

    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    check_refused(Doorstep::new(&["--listen", &address]), 1, &[&address, "in use", "--listen"])
        .await;
}

#[tokio::test]
async fn a_flag_beats_the_environment_beats_the_file() {
    let file = "[delivery]\nttl = \"7s\"\n[delivery.kinds.\"position.closed\"]\npolicy = \"inbox\"";
    let call = Doorstep::new(&["config", "--listen", "127.0.0.1:3"])
        .file("doorstep.toml", file)
        .env("DOORSTEP_LISTEN", "127.0.0.1:2")
        .env("DATABASE_URL", "postgres://u:s3cret@h/d")
        .env("DOORSTEP_DELIVERY__KINDS__POSITION_CLOSED__TTL", "9s");
    let Finished { code, stdout, stderr } = call.run().await;
    assert_eq!(code, Some(0), "{stderr}");
    for (setting, origin) in [
        ("listen = \"127.0.0.1:3\"", "flag --listen"),
        ("database = \"postgres://u:***@h/d\"", "environment DATABASE_URL"),
        ("ttl = \"7s\"", "file doorstep.toml"),
        ("strategy = \"wake\"", "default"),
        ("policy = \"inbox\"", "file doorstep.toml"),
        ("ttl = \"9s\"", "environment DOORSTEP_DELIVERY__KINDS__POSITION_CLOSED__TTL"),
    ] {
        let line = stdout.lines().find(|line| line.starts_with(setting) && line.ends_with(origin));
        assert!(line.is_some(), "no {setting} from {origin} in:\n{stdout}");
    }
}

#[tokio::test]
async fn help_and_version_are_no_failures() {
    for args in [&["--help"][..], &["serve", "--help"], &["demo", "--help"], &["listen", "--help"]]
    {
        let Finished { code, stdout, .. } = Doorstep::new(args).run().await;
        assert_eq!(code, Some(0));
        assert!(stdout.contains("Usage: doorstep"), "{stdout}");
    }
    let version = Doorstep::new(&["--version"]).run().await;
    assert_eq!(version.stdout, format!("doorstep {}", env!("CARGO_PKG_VERSION")));
}

#[tokio::test]
async fn the_token_is_in_no_output_of_the_listener() {
    let call = Doorstep::new(&["listen", "--url", "ftp://h"]).env("DOORSTEP_TOKEN", "s3cret");
    check_refused(call, 1, &["does not begin with ws://"]).await;
    let call = Doorstep::new(&["listen", "--help"]).env("DOORSTEP_TOKEN", "s3cret").run().await;
    assert!(!call.stdout.contains("s3cret"));
}

/// A user registers, connects late, and sees the popup, or under `immediate` does not.
async fn check_late_client(policy: &str, strategy: &str, sees: bool) {
    let database = SqliteFile::new();
    let call = Doorstep::serve(&database.url())
        .env("DOORSTEP_DELIVERY__POLICY", policy)
        .env("DOORSTEP_DELIVERY__STRATEGY", strategy)
        .env("DOORSTEP_DELIVERY__POLL_INTERVAL", "20ms")
        .env("DOORSTEP_LOG", "info,doorstep=debug");
    let mut server = call.start().await;
    let user = User::register(server.url(), "ada").await;
    user.has("1000.00").await;
    if !sees {
        server.logged("outcome=\"expired\"", NEWS).await;
    }
    let mut socket = user.connect("doorstep.plain.v1").await;
    if sees {
        let mut kinds = socket.kinds(NEWS).await;
        kinds.sort();
        assert_eq!(kinds, ["reward.granted", "welcome"], "{policy}, {strategy}");
        server.logged("outcome=\"delivered\"", NEWS).await;
    } else {
        assert_eq!(socket.round_trip().await, Vec::<String>::new());
    }
    assert_eq!(user.balance().await, "1000.00");
}

#[tokio::test]
async fn immediate_loses_the_popup_and_never_the_money() {
    check_late_client("immediate", "wake", false).await;
}

#[tokio::test]
async fn deferred_wake_keeps_the_popup_at_the_door() {
    check_late_client("deferred", "wake", true).await;
}

#[tokio::test]
async fn deferred_poll_keeps_the_popup_too() {
    check_late_client("deferred", "poll", true).await;
}

#[tokio::test]
async fn a_kind_has_a_policy_of_its_own() {
    let database = SqliteFile::new();
    let mut server = Doorstep::serve(&database.url())
        .file("doorstep.toml", "[delivery.kinds.welcome]\npolicy = \"immediate\"")
        .env("DOORSTEP_LOG", "info,doorstep=debug")
        .start()
        .await;
    let user = User::register(server.url(), "ada").await;
    user.has("1000.00").await;
    server.logged("outcome=\"expired\"", 1).await;
    let mut socket = user.connect("doorstep.plain.v1").await;
    assert_eq!(socket.kinds(1).await, ["reward.granted"]);
}

#[tokio::test]
async fn the_demo_plays_every_policy_and_keeps_its_promises() {
    let Finished { code, stdout, stderr } =
        Doorstep::new(&["demo", "--connect-after", "300ms", "--runs", "2"]).run().await;
    assert_eq!(code, Some(0), "{stderr}");
    for row in
        ["immediate", "deferred, poll", "deferred, wake ", "deferred, wake; cut before", "inbox"]
    {
        let row = stdout.lines().find(|line| line.contains(row)).unwrap_or_default();
        assert!(row.contains("1000.00"), "{stdout}");
        let popup = if row.contains("immediate") { "lost by 2 of 2" } else { "seen by 2 of 2" };
        assert!(row.contains(popup), "{stdout}");
    }
}

#[tokio::test]
async fn the_listener_prints_acknowledges_and_comes_back() {
    let database = SqliteFile::new();
    let mut server = Doorstep::serve(&database.url()).start().await;
    let url = server.url().to_owned();
    let user = User::register(&url, "ada").await;
    let mut listener =
        Doorstep::new(&["listen", "--url", &url]).env("DOORSTEP_TOKEN", &user.token).spawn().await;
    listener.printed("  welcome  {\"username\":\"ada\"}  ", 1).await;
    listener.printed("  reward.granted  {", 1).await;
    server.logged("outcome=\"delivered\"", NEWS).await;

    server.terminate();
    assert_eq!(server.wait().await.code, Some(0));
    listener.logged("1012", 1).await;
    let address = url.trim_start_matches("http://");
    let again = Doorstep::new(&["serve", "--listen", address, "--database", &database.url()]);
    let server = again.start().await;
    listener.logged("connected to ", 2).await;
    drop(server);

    listener.terminate();
    let Finished { code, stdout, stderr } = listener.wait().await;
    assert_eq!((code, stdout.lines().count()), (Some(0), NEWS), "{stdout}");
    assert!(!format!("{stdout}{stderr}").contains(&user.token));
}

#[tokio::test]
async fn a_listener_whose_token_is_dead_does_not_come_back() {
    let server = Doorstep::serve(&SqliteFile::new().url()).start().await;
    let call = Doorstep::new(&["listen", "--url", server.url(), "--token", "s3cret"]);
    check_refused(call, 1, &["the token is not valid"]).await;
}

#[tokio::test]
async fn the_audit_says_what_is_wrong_and_ends_with_1() {
    let database = SqliteFile::new();
    let server = Doorstep::serve(&database.url()).start().await;
    let user = User::register(server.url(), "ada").await;
    user.has("1000.00").await;
    server.terminate();
    server.wait().await;
    let audit = Doorstep::new(&["audit", "--database", &database.url()]);
    let Finished { code, stdout, .. } = audit.run().await;
    assert_eq!(code, Some(0));
    assert!(stdout.contains("1 users, 1 ledger entries"), "{stdout}");

    let mut connection = sqlx::SqliteConnection::connect(&database.url()).await.unwrap();
    connection.execute("UPDATE users SET balance = balance + 1").await.unwrap();
    connection.close().await.unwrap();
    let Finished { code, stdout, stderr } = audit.run().await;
    assert_eq!(code, Some(1), "{stderr}");
    assert!(stdout.contains(&user.id), "{stdout}");
}
