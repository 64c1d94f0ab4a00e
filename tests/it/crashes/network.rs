//! The network between a backend and the node is cut, before a call has come through or before its answer has. The
//! backend cannot tell which, and sends again under the same ids.

use std::time::Duration;

use doorstep_tests::freezing_proxy::FreezingProxy;
use doorstep_tests::server::SqliteFile;
use serde_json::{Value, json};

use super::{ACKS, door, kinds, news};
use crate::node::eventually;

/// How long the backend waits for an answer that does not come.
const GIVES_UP_AFTER: Duration = Duration::from_millis(300);
const IDS: [&str; 2] =
    ["01a209eb-cf1f-77b0-85a2-bbc9716a2644", "01a209eb-cf1f-77b0-85a2-bbc9716a2645"];

/// One for each policy.
fn batch() -> Value {
    let mut batch = json!([news("ada", "news.deferred"), news("ada", "news.kept")]);
    for (one, id) in batch.as_array_mut().unwrap().iter_mut().zip(IDS) {
        one["id"] = json!(id);
    }
    batch
}

#[tokio::test]
async fn a_call_that_is_cut_off_is_sent_again() {
    let file = SqliteFile::new();
    let door = door(&file.url()).await;
    let proxy = FreezingProxy::before_node(door.server.url()).await;
    proxy.freeze(true);
    let call = reqwest::Client::new().post(format!("{}/v1/notifications", proxy.url()));
    let call = call.bearer_auth(&door.backend.key).timeout(GIVES_UP_AFTER).json(&batch());
    assert!(call.send().await.unwrap_err().is_timeout());
    for id in IDS {
        let (status, _) = door.backend.get(&format!("/v1/notifications/{id}")).await;
        assert_eq!(status, 404, "it has not come through");
    }
    // What lay in the network may come through late.
    proxy.freeze(false);
    door.backend.publish(&batch()).await;
    let mut socket = door.user("ada").connect(ACKS).await;
    assert_eq!(kinds(&mut socket, 2).await, ["news.deferred", "news.kept"]);
}

#[tokio::test]
async fn a_call_whose_answer_is_cut_off_is_sent_again_and_shown_once() {
    let file = SqliteFile::new();
    let door = door(&file.url()).await;
    let proxy = FreezingProxy::before_node(door.server.url()).await;
    // The answer comes after the outcome, so there is time to lose it.
    let call = reqwest::Client::new().post(format!("{}/v1/notifications?wait=60", proxy.url()));
    let call = call.bearer_auth(&door.backend.key).json(&batch()).send();
    let call = tokio::spawn(call);
    eventually("it has come through", async || {
        let (status, _) = door.backend.get(&format!("/v1/notifications/{}", IDS[1])).await;
        status == 200
    })
    .await;
    proxy.freeze(true);
    call.abort();
    let again = door.backend.publish(&batch()).await;
    assert!(again.iter().all(|one| one["state"] == "waiting"), "{again:?}");
    let mut socket = door.user("ada").connect(ACKS).await;
    assert_eq!(kinds(&mut socket, 2).await, ["news.deferred", "news.kept"]);
}
