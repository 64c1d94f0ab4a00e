//! The real binary on a machine whose wall clock is corrected, or that was suspended. `libfaketime` (in Debian's
//! `faketime`, which `./tests/run.sh` installs) changes its time of day and leaves the monotonic clock alone.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::http::HeaderMap;
use axum::routing::post;
use doorstep_tests::server::Doorstep;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use super::{BARE, Door, SECRET};

const HOUR: u64 = 3600;

fn faketime() -> String {
    let places = ["/usr/lib", "/usr/lib64", "/usr/local/lib"].map(Path::new);
    let multiarch = Path::new("/usr/lib").join(format!("{}-linux-gnu", std::env::consts::ARCH));
    let mut places = places.into_iter().chain([multiarch.as_path()]);
    let library = places.find_map(|place| {
        let file = place.join("faketime/libfaketimeMT.so.1");
        file.exists().then(|| file.to_string_lossy().into_owned())
    });
    library.expect("libfaketime, which ./tests/run.sh installs")
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

fn token(not_before: u64, expires: u64) -> String {
    let claims = json!({
        "sub": "ada", "iss": "shop", "aud": "doorstep", "nbf": not_before, "exp": expires,
    });
    let header = Header { kid: Some("shop".into()), ..Header::new(Algorithm::HS256) };
    encode(&header, &claims, &EncodingKey::from_secret(SECRET.as_bytes())).unwrap()
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn others_get_the_time_of_day_and_what_waits_does_not_feel_a_step() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    let (sender, mut received) = mpsc::unbounded_channel();
    let hook = post(async move |headers: HeaderMap| {
        let sent: u64 = headers["webhook-timestamp"].to_str().unwrap().parse().unwrap();
        sender.send(sent).unwrap();
    });
    tokio::spawn(async move {
        axum::serve(listener, Router::new().route("/hook", hook)).await.unwrap();
    });

    let call = Doorstep::new(&["--listen", "127.0.0.1:0"]).file("clock", "+0");
    let clock = call.dir().join("clock");
    let call = call
        .env("LD_PRELOAD", &faketime())
        .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
        .env("FAKETIME_NO_CACHE", "1")
        .env("FAKETIME_TIMESTAMP_FILE", &clock.to_string_lossy());
    let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    let file = format!("{BARE}[webhook]\nurl = {url:?}\nsecret = {secret:?}");
    let door = Door::of(call, &file).await;
    let user =
        |token: &str| doorstep_tests::client::User::with_token(door.server.url(), "ada", token);
    let lets_in = async |token: &str| user(token).get("/v1/ws").await.0 != 401;

    let (now, later) = (token(now(), now() + HOUR), token(now() + 5 * HOUR, now() + 9 * HOUR));
    assert!(lets_in(&now).await && !lets_in(&later).await);
    let waits = json!({"user_id": "ada", "kind": "news", "payload": 1, "ttl": 300});
    let waits = door.backend.publish(&waits).await[0]["id"].as_str().unwrap().to_owned();

    // The machine wakes up five hours later.
    std::fs::write(&clock, "+5h").unwrap();
    assert!(!lets_in(&now).await, "the token has expired");
    assert!(lets_in(&later).await, "the token is valid now");
    assert_eq!(door.backend.state(&waits).await["state"], "waiting");
    let fresh = |text: &str| {
        let at: jiff::Timestamp = text.parse().unwrap();
        let by_now = u64::try_from(at.as_second()).unwrap();
        by_now.abs_diff(self::now() + 5 * HOUR) < 600
    };
    let mut socket = user(&later).connect("doorstep.plain.v1").await;
    let pushed = socket.notification().await;
    assert_eq!(pushed["id"], waits.as_str());
    assert!(fresh(pushed["created_at"].as_str().unwrap()), "{pushed}");
    let sent = received.recv().await.unwrap();
    assert!(sent.abs_diff(self::now() + 5 * HOUR) < 600, "a receiver accepts no other time");
    let state = door.backend.state(&waits).await;
    assert_eq!(state["state"], "delivered");
    assert!(fresh(state["created_at"].as_str().unwrap()), "{state}");
    assert!(fresh(state["ended_at"].as_str().unwrap()), "{state}");

    // The clock is corrected back: the notification's time is in the future now, and its TTL does not start again.
    let now_or_never = json!({"user_id": "bob", "kind": "news", "payload": 1, "ttl": 1});
    let short = door.backend.publish_at("/v1/notifications?wait=60", &now_or_never);
    let (short, ()) = tokio::join!(short, async { std::fs::write(&clock, "+0").unwrap() });
    assert_eq!(short[0]["state"], "expired");
}
