//! Registrations, as many as somebody can send. Each costs the server a password's hash.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;

use doorstep_tests::client::{PASSWORD, User};
use doorstep_tests::server::{Doorstep, SqliteFile};
use futures_util::{StreamExt as _, stream};
use serde_json::json;

use super::{Healthy, many_files};
use crate::backends::Door;

/// How many register at least, and how many of them at once. They go on until the sign-ins are done.
const FLOOD: usize = 1500;
const AT_ONCE: usize = 600;
/// How often somebody else signs in meanwhile.
const SIGN_INS: usize = 2;

/// Starts a server with the simulation, with these limits; floods it, and signs in beside it. Returns how many
/// registrations were answered with each status.
async fn flooded(limits: &str) -> BTreeMap<u16, usize> {
    many_files();
    let database = SqliteFile::new();
    let call = Doorstep::new(&["--listen", "127.0.0.1:0"]).env("DATABASE_URL", &database.url());
    let door = Door::of(call, &format!("[limits]\n{limits}\n[log]\nfilter = \"warn\"\n")).await;
    let healthy = Healthy::at(&door).await;
    User::register(door.server.url(), "ada").await;
    let http = reqwest::Client::new();
    let url = |path: &str| format!("{}{path}", door.server.url());
    let signed_in = AtomicBool::new(false);
    let registering = stream::iter((0..).take_while(|n| *n < FLOOD || !signed_in.load(Relaxed)))
        .map(async |n| {
            let body = json!({"username": format!("user-{n}"), "password": PASSWORD});
            let response = http.post(url("/v1/users")).json(&body).send().await.unwrap();
            let status = response.status().as_u16();
            let refused = [429, 503].contains(&status);
            assert!(status == 201 || refused, "{status}");
            let wait = response.headers().get("retry-after");
            let wait = wait.map(|wait| wait.to_str().unwrap().parse::<u64>().unwrap());
            assert_eq!(wait.is_some_and(|wait| wait > 0), refused, "{status}: {wait:?}");
            status
        })
        .buffer_unordered(AT_ONCE)
        .fold(BTreeMap::new(), async |mut counts, status| {
            *counts.entry(status).or_insert(0) += 1;
            counts
        });
    let signing_in = async {
        for _ in 0..SIGN_INS {
            let body = json!({"username": "ada", "password": PASSWORD});
            let response = http.post(url("/v1/sessions")).json(&body).send().await.unwrap();
            assert_eq!(response.status(), 201, "a sign-in beside the flood");
        }
        signed_in.store(true, Relaxed);
    };
    let (counts, ()) = tokio::join!(registering, signing_in);
    println!("{counts:?}");
    healthy.has_everything().await;
    counts
}

#[tokio::test]
async fn a_flood_of_registrations_from_one_address_is_held_to_its_rate() {
    let counts = flooded("registrations_per_second = 1").await;
    assert!(counts[&201] >= 200 && counts[&429] > FLOOD / 2, "{counts:?}");
}

#[tokio::test]
async fn a_flood_of_registrations_without_a_rate_is_bounded_and_keeps_no_sign_in_out() {
    let counts = flooded("registrations_per_second = 0").await;
    assert!(counts[&201] > 0 && counts[&503] > 0, "{counts:?}");
}
