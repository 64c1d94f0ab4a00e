//! A storm of sign-ins against the real binary.

use doorstep_tests::client::{PASSWORD, User};
use doorstep_tests::server::{Doorstep, Server, SqliteFile};
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use serde_json::json;

/// Signs in this many times at once. Returns how many succeeded.
async fn storm(server: &Server, at_once: usize) -> usize {
    let body = json!({"username": "ada", "password": PASSWORD});
    let http = reqwest::Client::new();
    let sign_ins: FuturesUnordered<_> = (0..at_once)
        .map(|_| http.post(format!("{}/v1/sessions", server.url())).json(&body).send())
        .collect();
    let answers: Vec<_> = sign_ins.collect().await;
    answers.into_iter().filter(|answer| answer.as_ref().unwrap().status() == 201).count()
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_storm_of_sign_ins_leaves_no_memory_behind() {
    let database = SqliteFile::new();
    let server = Doorstep::serve(&database.url())
        .env("DOORSTEP_LIMITS__SIGN_INS_PER_SECOND", "0")
        .start()
        .await;
    User::register(server.url(), "ada").await;
    assert_eq!(storm(&server, 4).await, 4);
    let before = server.resident();
    assert_eq!(storm(&server, 120).await, 120);
    let after = server.resident();
    // A hash takes 19 MiB, and one is computed per core. The connections leave a few MiB behind.
    assert!(after < before + 32, "{before} MiB before, {after} MiB after");
}
