//! NATS is away: what is known is still pushed, acknowledgements are kept, and nothing new is accepted.

use super::{Nodes, draft};

#[tokio::test(flavor = "multi_thread")]
async fn while_nats_is_away_what_is_known_is_pushed_and_nothing_new_is_accepted() {
    let mut nodes = Nodes::start(2).await;
    let (waits, _) = nodes.publish(0, draft("ada", 1)).await;
    // It has been read everywhere once another node knows a later one.
    let mut bob = nodes.user(1, "bob").connect("doorstep.v1").await;
    nodes.publish(0, draft("bob", 1)).await;
    let shown = bob.notification().await;
    bob.acknowledge(&shown).await;
    nodes.nats[0].kill();
    for node in 0..2 {
        nodes.says(node, (200, "degraded")).await;
    }
    // Nothing new, and a word about what to do.
    let refused = reqwest::Client::new()
        .post(format!("{}/v1/notifications", nodes.server(0).url()))
        .bearer_auth(&nodes.backend(0).key)
        .header("content-type", "application/json")
        .body(draft("ada", 2).to_string())
        .send()
        .await
        .unwrap();
    assert_eq!(refused.status(), 503);
    assert!(refused.headers().contains_key("retry-after"));
    let problem: serde_json::Value = refused.json().await.unwrap();
    assert!(
        problem["detail"].as_str().unwrap().contains("send again with the same id"),
        "{problem}"
    );
    // What is known here: at the node that did not accept it.
    let mut ada = nodes.user(1, "ada").connect("doorstep.v1").await;
    let shown = ada.notification().await;
    assert_eq!(shown["id"], *waits);
    ada.acknowledge(&shown).await;
    nodes.nats[0].start_again();
    for node in 0..2 {
        nodes.is_ready(node).await;
        nodes.becomes(node, &waits, "delivered").await;
    }
    // The connections have stayed.
    let (after, _) = nodes.publish(0, draft("ada", 3)).await;
    assert_eq!(ada.notification().await["id"], *after);
}
