//! The files of the certificate and the key at the start.

use doorstep_tests::server::{Doorstep, Finished};
use doorstep_tests::tls::{TlsClient, fixture, section};

use super::{ask, usual};
use crate::backends::{BARE, Door};

/// Lines of the keys of the tests, which no output may contain.
fn secrets() -> Vec<String> {
    let lines = |name| std::fs::read_to_string(fixture(name)).unwrap();
    let all = ["server.key", "other.key", "encrypted.key"].map(lines).join("\n");
    let secret = |line: &&str| !line.is_empty() && !line.starts_with("-----");
    all.lines().filter(secret).map(str::to_owned).collect()
}

async fn check_refused(call: &Doorstep, parts: &[&str]) {
    let Finished { code, stdout, stderr } = call.run().await;
    assert_eq!(code, Some(2), "{stderr}");
    for part in parts {
        assert!(stderr.contains(part), "no {part:?} in {stderr}");
    }
    assert!(!stdout.contains("listening on"), "{stdout}");
    for secret in secrets() {
        assert!(!stderr.contains(&secret) && !stdout.contains(&secret), "{stderr}");
    }
}

#[tokio::test]
async fn files_that_cannot_be_used_are_refused_at_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let (letter, empty, folder) = (path("letter.txt"), path("empty.pem"), path(""));
    std::fs::write(&letter, "Dear reader").unwrap();
    std::fs::write(&empty, "").unwrap();
    let its = |name| fixture(name).to_str().unwrap().to_owned();
    let (cert, key) = (its("server.pem"), its("server.key"));
    let (other, encrypted) = (its("other.key"), its("encrypted.key"));
    let (of_cert, of_key) = ("server.tls.cert", "server.tls.key");
    for (cert, key, parts) in [
        (
            "/nowhere/cert.pem",
            &*key,
            [of_cert, "/nowhere/cert.pem", "cannot be read", "must exist"],
        ),
        (&letter, &key, [of_cert, &letter, "no certificate", "BEGIN CERTIFICATE"]),
        (&empty, &key, [of_cert, &empty, "no certificate", "BEGIN CERTIFICATE"]),
        (&folder, &key, [of_cert, &folder, "is not a file", ""]),
        (&key, &cert, [of_cert, &key, "no certificate", "swapped"]),
        (&cert, "/nowhere/key.pem", [of_key, "/nowhere/key.pem", "cannot be read", "must exist"]),
        (&cert, &letter, [of_key, &letter, "no private key", "BEGIN PRIVATE KEY"]),
        (&cert, &cert, [of_key, &cert, "no private key", "swapped"]),
        (&cert, &encrypted, [of_key, &encrypted, "encrypted", "openssl pkey"]),
        (&cert, &other, [of_key, &other, "is not the key of the certificate", &cert]),
    ] {
        let call = Doorstep::new(&["--listen", "127.0.0.1:0"]);
        let call = call.file("doorstep.toml", &format!("{BARE}{}", section(cert, key)));
        check_refused(&call.env("DOORSTEP_LOG", "trace"), &parts).await;
    }
}

#[tokio::test]
async fn half_of_the_settings_and_a_unix_socket_are_refused() {
    let (cert, key) = (fixture("server.pem"), fixture("server.key"));
    let (cert, key) = (cert.to_str().unwrap(), key.to_str().unwrap());
    let alone = |name, file| Doorstep::new(&["--listen", "127.0.0.1:0"]).env(name, file);
    let parts = ["server.tls.cert", cert, "server.tls.key is not set"];
    check_refused(&alone("DOORSTEP_SERVER__TLS__CERT", cert), &parts).await;
    let parts = ["server.tls.key", key, "server.tls.cert is not set"];
    check_refused(&alone("DOORSTEP_SERVER__TLS__KEY", key), &parts).await;
    let unix = Doorstep::new(&["--listen", "unix:door.sock"]).file("doorstep.toml", &usual());
    check_refused(&unix, &["server.tls is for TCP", "Unix socket door.sock"]).await;
    // `config` judges the settings too, and shows the files.
    let unix =
        Doorstep::new(&["config", "--listen", "unix:door.sock"]).file("doorstep.toml", &usual());
    check_refused(&unix, &["server.tls is for TCP"]).await;
    let shown = Doorstep::new(&["config"]).file("doorstep.toml", &usual()).run().await;
    assert_eq!(shown.code, Some(0), "{}", shown.stderr);
    let lines = format!("[server.tls]\ncert = {cert:?}");
    assert!(shown.stdout.contains(&lines), "{}", shown.stdout);
}

#[tokio::test]
async fn an_expired_certificate_is_used_with_a_warning() {
    let (cert, key) = (fixture("expired.pem"), fixture("expired.key"));
    let tls = section(cert.to_str().unwrap(), key.to_str().unwrap());
    let mut door = Door::with(&format!("{BARE}{tls}\n[metrics]\nlisten = \"127.0.0.1:0\"")).await;
    door.server.logged("the certificate has expired: renew it", 1).await;
    // Its clients see it as expired, which is for them to judge.
    let refused = TlsClient::new().connect(door.server.address()).await.unwrap_err();
    assert!(refused.to_string().contains("invalid peer certificate"), "{refused}");
    door.server.terminate();
    let finished = door.server.wait().await;
    assert_eq!(finished.code, Some(0), "{}", finished.stderr);
    let warning = finished.stderr.lines().find(|line| line.contains("has expired")).unwrap();
    assert!(warning.contains("WARN") && warning.contains("2020-02-01T00:00:00"), "{warning}");
}

#[tokio::test]
async fn metrics_say_how_long_the_certificate_is_valid() {
    let door = super::door().await;
    let response = ask(&door, "GET /metrics HTTP/1.1").await;
    let (_, value) = response.split_once("\ndoorstep_tls_certificate_expires_seconds ").unwrap();
    let value: f64 = value.lines().next().unwrap().parse().unwrap();
    // Until the year 2126.
    assert!(value > 50.0 * 365.0 * 86_400.0, "{value}");
    let plain = Door::open().await;
    let metrics = reqwest::get(format!("{}/metrics", plain.server.url())).await.unwrap();
    assert!(!metrics.text().await.unwrap().contains("doorstep_tls"), "without TLS there is none");
}
