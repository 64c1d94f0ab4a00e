//! The network between a backend and the node is cut while a call is under way.

use std::time::Duration;

use doorstep_tests::freezing_proxy::FreezingProxy;
use doorstep_tests::server::SqliteFile;
use serde_json::json;

use super::{ACKS, door, kinds, news};

/// How long the backend waits for an answer that does not come.
const GIVES_UP_AFTER: Duration = Duration::from_millis(300);

#[tokio::test]
async fn a_call_without_an_answer_is_repeated_under_its_id_and_shown_once() {
    let file = SqliteFile::new();
    let door = door(&file.url()).await;
    let proxy = FreezingProxy::before_node(door.server.url()).await;
    let ids = ["01a209eb-cf1f-77b0-85a2-bbc9716a2644", "01a209eb-cf1f-77b0-85a2-bbc9716a2645"];
    let mut batch = json!([news("ada", "news.deferred"), news("ada", "news.kept")]);
    for (one, id) in batch.as_array_mut().unwrap().iter_mut().zip(ids) {
        one["id"] = json!(id);
    }
    let call = || {
        let call = reqwest::Client::new().post(format!("{}/v1/notifications", proxy.url()));
        call.bearer_auth(&door.backend.key).timeout(GIVES_UP_AFTER).json(&batch).send()
    };
    proxy.freeze(true);
    assert!(call().await.unwrap_err().is_timeout());
    let known = door.backend.get(&format!("/v1/notifications/{}", ids[0])).await;
    assert_eq!(known.0, 404, "nothing has come through");
    // What lay in the network comes through late, beside what the backend sends again.
    proxy.freeze(false);
    let again = door.backend.publish(&batch).await;
    assert!(again.iter().all(|one| one["state"] == "waiting"), "{again:?}");
    let mut socket = door.user("ada").connect(ACKS).await;
    assert_eq!(kinds(&mut socket, 2).await, ["news.deferred", "news.kept"]);
}
