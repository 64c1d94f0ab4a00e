//! Nodes stop, are killed, and start: nothing that was accepted is lost.

use super::{Nodes, draft};

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_killed_takes_nothing_with_it() {
    let mut nodes = Nodes::start(2).await;
    let mut ids = Vec::new();
    for n in 0..20 {
        ids.push(nodes.publish(0, draft("ada", n)).await.0);
    }
    drop(nodes.doors.remove(0));
    // At the node that is left, at once.
    let mut socket = nodes.user(0, "ada").connect("doorstep.v1").await;
    for id in &ids {
        let notification = socket.notification().await;
        assert_eq!(notification["id"], **id);
        socket.acknowledge(&notification).await;
    }
    for id in &ids {
        nodes.becomes(0, id, "delivered").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_outlives_every_node_if_all_are_replaced_one_by_one() {
    let mut nodes = Nodes::start(2).await;
    let (id, _) = nodes.publish(0, draft("ada", 1)).await;
    for _ in 0..2 {
        nodes.add().await;
        nodes.is_ready(nodes.doors.len() - 1).await;
        let old = nodes.doors.remove(0);
        old.server.terminate();
        let finished = old.server.wait().await;
        assert_eq!(finished.code, Some(0), "{}", finished.stderr);
    }
    let mut socket = nodes.user(1, "ada").connect("doorstep.v1").await;
    let notification = socket.notification().await;
    assert_eq!(notification["id"], *id);
    socket.acknowledge(&notification).await;
    nodes.becomes(0, &id, "delivered").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_outlives_all_nodes_at_once_in_the_log() {
    let mut nodes = Nodes::start(1).await;
    let (id, _) = nodes.publish(0, draft("ada", 1)).await;
    let crate::backends::Door { call, server, backend } = nodes.doors.remove(0);
    drop(server);
    let server = call.start().await;
    let backend = backend.at(server.url());
    nodes.doors.push(crate::backends::Door { call, server, backend });
    nodes.is_ready(0).await;
    let mut socket = nodes.user(0, "ada").connect("doorstep.v1").await;
    assert_eq!(socket.notification().await["id"], *id);
}
