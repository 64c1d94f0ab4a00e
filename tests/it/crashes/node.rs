//! The node is killed, or stopped as planned, while notifications of the bus and of a backend wait.

use doorstep_tests::server::SqliteFile;

use super::{ACKS, door, kinds, news, registered};

/// What Ada finds after the node has been ended in this way and started again.
async fn left_by(kill: bool) -> Vec<String> {
    let file = SqliteFile::new();
    let mut door = door(&file.url()).await;
    let ada = registered(&door).await;
    for kind in ["news.deferred", "news.kept"] {
        assert_eq!(door.backend.publish(&news(&ada.id, kind)).await[0]["state"], "waiting");
    }
    if kill {
        door.server.kill().await;
    } else {
        door.server.terminate();
        assert_eq!(door.server.wait().await.code, Some(0));
    }
    door.server = door.call.start().await;
    let ada = ada.at(door.server.url());
    let mut socket = ada.connect(ACKS).await;
    let left = kinds(&mut socket, if kill { 2 } else { 4 }).await;
    // Whatever became of its popup, the reward is there.
    ada.has("1000.00").await;
    left
}

#[tokio::test]
async fn a_node_that_is_killed_loses_what_was_deferred_and_keeps_the_inbox() {
    assert_eq!(left_by(true).await, ["news.kept", "welcome"]);
}

#[tokio::test]
async fn a_node_that_is_stopped_keeps_everything() {
    let all = ["news.deferred", "news.kept", "reward.granted", "welcome"];
    assert_eq!(left_by(false).await, all);
}
