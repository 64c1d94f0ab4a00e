//! Who signs out at one node is disconnected at all.

use doorstep_tests::client::User;
use serde_json::json;

use super::prices::Traders;

#[tokio::test(flavor = "multi_thread")]
async fn signing_out_at_one_node_ends_the_connections_of_that_session_at_another() {
    let nodes = Traders::start(2).await;
    let ada = User::register(nodes.url(0), "ada").await;
    // Another session of hers, at the same node as the first.
    let body = json!({"username": "ada", "password": doorstep_tests::client::PASSWORD});
    let request = reqwest::Client::new().post(format!("{}/v1/sessions", nodes.url(1))).json(&body);
    let session: serde_json::Value = request.send().await.unwrap().json().await.unwrap();
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    let again =
        User::with_token(nodes.url(1), &text(&session["user"]["id"]), &text(&session["token"]));
    let mut stays = again.connect("doorstep.v1").await;
    stays.round_trip().await;
    let mut ends = ada.clone().at(nodes.url(1)).connect("doorstep.v1").await;
    ends.round_trip().await;
    let gone = reqwest::Client::new()
        .delete(format!("{}/v1/sessions/current", nodes.url(0)))
        .bearer_auth(&ada.token)
        .send()
        .await
        .unwrap();
    assert_eq!(gone.status(), 204);
    assert_eq!(ends.close_code_at_last().await, 4401);
    stays.round_trip().await;
    nodes.audit().await;
}
