//! The second to the fifth promise: a connected user gets it, in order, until acknowledged, on all connections.

use std::collections::HashSet;
use std::sync::Arc;

use doorstep_application::delivery::{Receipt, Rule};
use doorstep_domain::Outcome;
use uuid::Uuid;

use super::{
    ACKS, PLAIN, SOON, connected, gone, id_of, ids, nothing_waits, quiet, registered, ruled, send,
    with_ttl,
};
use crate::node::Node;

#[tokio::test]
async fn promise_2_who_is_there_at_any_moment_gets_it() {
    let node = Arc::new(Node::with(quiet()).await);
    let (ada, id) = registered(&node, "ada").await;
    // Either comes first: a hundred tries cover many interleavings.
    for round in 0..100_u32 {
        let sent = node.notification(&id, 3);
        let sent_id = sent.id;
        let sending = {
            let node = node.clone();
            tokio::spawn(async move {
                for _ in 0..(round % 10) * 7 {
                    tokio::task::yield_now().await;
                }
                node.delivery.send(sent).await.unwrap().outcome().await
            })
        };
        let mut socket = ada.connect(PLAIN).await;
        assert_eq!(id_of(&socket.notification().await), sent_id);
        assert_eq!(sending.await.unwrap(), Some(Outcome::Delivered));
        gone(&node, socket).await;
    }

    // It never arrives after its TTL.
    let late = send(&node, with_ttl(SOON, node.notification(&id, 3))).await;
    assert_eq!(late.outcome().await, Some(Outcome::Expired));
    let mut socket = connected(&node, &ada, PLAIN).await;
    let live = send(&node, node.notification(&id, 3)).await;
    assert_eq!(ids(&mut socket, 1).await, [live.id()]);
    assert!(socket.round_trip().await.is_empty());
}

#[tokio::test]
async fn promise_3_order_is_kept_through_reconnects() {
    let node = Node::with(quiet()).await;
    let (ada, id) = registered(&node, "ada").await;
    let (mut order, mut first_pushed) = (Vec::new(), Vec::new());
    for round in 0.. {
        // In some rounds more is sent, before she connects and while she is connected.
        let more = async |order: &mut Vec<_>| {
            for _ in 0..if round < 20 { 3 } else { 0 } {
                let receipt = send(&node, node.notification(&id, 3)).await;
                order.push(receipt.id());
            }
        };
        more(&mut order).await;
        let mut socket = connected(&node, &ada, ACKS).await;
        more(&mut order).await;
        // Some are acknowledged, some are only received, and then the connection is lost.
        let mut frames = socket.round_trip().await;
        for frame in frames.iter().take(4) {
            socket.acknowledge(&serde_json::from_str(frame).unwrap()).await;
        }
        frames.extend(socket.round_trip().await);
        gone(&node, socket).await;

        let seen: Vec<_> =
            frames.iter().map(|f| id_of(&serde_json::from_str(f).unwrap())).collect();
        let places = seen.iter().map(|id| order.iter().position(|sent| sent == id));
        assert!(places.is_sorted(), "redelivered notifications come in order too");
        first_pushed
            .extend(seen.into_iter().filter(|id| !first_pushed.contains(id)).collect::<Vec<_>>());
        if node.delivery.held().mailboxes == 0 && round >= 20 {
            break;
        }
    }
    assert_eq!(first_pushed, order);
}

#[tokio::test]
async fn promise_4_what_is_not_acknowledged_comes_again_in_order() {
    let node = Node::with(ruled(Rule { ack_timeout: SOON, ..Rule::default() })).await;
    let (ada, id) = registered(&node, "ada").await;
    let mut receipts = Vec::new();
    for _ in 0..3 {
        receipts.push(send(&node, node.notification(&id, 3)).await);
    }
    let order: Vec<_> = receipts.iter().map(Receipt::id).collect();

    // After the ack timeout it is pushed again, repeatedly, on the same connection.
    let mut socket = connected(&node, &ada, ACKS).await;
    assert_eq!(ids(&mut socket, 3).await, order);
    let again = ids(&mut socket, 6).await;
    assert_eq!(again.iter().copied().collect::<HashSet<_>>(), order.iter().copied().collect());
    // The connection ends between frame and ack.
    gone(&node, socket).await;
    let mut socket = connected(&node, &ada, ACKS).await;
    let mut left = order.clone();
    while !left.is_empty() {
        let frame = socket.notification().await;
        if left.first() == Some(&id_of(&frame)) {
            left.remove(0);
            socket.acknowledge(&frame).await;
        }
    }
    for receipt in receipts {
        assert_eq!(receipt.outcome().await, Some(Outcome::Delivered));
    }
    // An acknowledged notification is not pushed again.
    gone(&node, socket).await;
    let mut socket = connected(&node, &ada, ACKS).await;
    let last = send(&node, node.notification(&id, 3)).await;
    assert_eq!(ids(&mut socket, 1).await, [last.id()]);
    gone(&node, socket).await;

    // For a client that does not acknowledge, the write is the delivery.
    let mut socket = connected(&node, &ada, PLAIN).await;
    assert_eq!(last.outcome().await, Some(Outcome::Delivered));
    socket.notification().await;
    assert!(socket.round_trip().await.is_empty());
    nothing_waits(&node).await;
}

#[tokio::test]
async fn promise_4_redelivery_ends_with_the_ttl() {
    let node = Node::with(ruled(Rule { ack_timeout: SOON, ..Rule::default() })).await;
    let (ada, id) = registered(&node, "ada").await;
    let mut socket = connected(&node, &ada, ACKS).await;
    let sent = send(&node, with_ttl(SOON * 6, node.notification(&id, 3))).await;
    assert_eq!(ids(&mut socket, 2).await, [sent.id(); 2]);
    assert_eq!(sent.outcome().await, Some(Outcome::Expired));
    socket.round_trip().await;
    assert!(socket.round_trip().await.is_empty(), "nothing comes after the end");
    nothing_waits(&node).await;
}

#[tokio::test]
async fn promise_5_the_first_ack_of_several_connections_ends_it() {
    let node = Node::with(quiet()).await;
    let (ada, id) = registered(&node, "ada").await;
    let mut tabs = Vec::new();
    for _ in 0..3 {
        tabs.push(connected(&node, &ada, ACKS).await);
    }
    let sent = send(&node, node.notification(&id, 3)).await;
    let mut frames = Vec::new();
    for tab in &mut tabs {
        frames.push(tab.notification().await);
    }
    assert!(frames.iter().all(|frame| id_of(frame) == sent.id()));
    tabs[1].acknowledge(&frames[1]).await;
    assert_eq!(sent.outcome().await, Some(Outcome::Delivered));
    nothing_waits(&node).await;
    // No second push: neither to connections that had it nor to a new one, even when others close.
    // A connection that had it may be told that another one acknowledged it.
    gone(&node, tabs.remove(0)).await;
    let mut latecomer = connected(&node, &ada, ACKS).await;
    assert!(latecomer.round_trip().await.is_empty());
    for socket in &mut tabs {
        let frames = socket.round_trip().await;
        assert!(frames.iter().all(|frame| frame.contains(r#""type":"retract""#)), "{frames:?}");
    }
    assert_eq!(node.delivery.ended(Outcome::Delivered), 1);
}

#[tokio::test]
async fn promise_5_a_connection_that_had_it_does_not_get_it_again_for_anothers_sake() {
    let node = Node::with(quiet()).await;
    let (ada, id) = registered(&node, "ada").await;
    let mut first = connected(&node, &ada, ACKS).await;
    let sent = send(&node, node.notification(&id, 3)).await;
    let frame = first.notification().await;
    let mut second = connected(&node, &ada, ACKS).await;
    assert_eq!(id_of(&second.notification().await), sent.id(), "either connection may acknowledge");
    assert!(first.round_trip().await.is_empty());
    first.acknowledge(&frame).await;
    assert_eq!(sent.outcome().await, Some(Outcome::Delivered));
}

#[tokio::test]
async fn a_forged_ack_changes_nothing() {
    let node = Node::with(quiet()).await;
    let (ada, ada_id) = registered(&node, "ada").await;
    let (eve, eve_id) = registered(&node, "eve").await;
    let mut adas = connected(&node, &ada, ACKS).await;
    let mut eves = connected(&node, &eve, ACKS).await;
    let sent = send(&node, node.notification(&ada_id, 3)).await;
    let frame = adas.notification().await;
    // The id of another user's notification, an unknown id, and a string that is no id.
    let unknown = serde_json::json!({ "id": Uuid::now_v7().to_string() });
    for forged in [&frame, &unknown] {
        eves.acknowledge(forged).await;
        assert!(eves.round_trip().await.is_empty(), "the server does not react");
    }
    assert_eq!(node.delivery.held().in_flight, 1);
    assert_eq!(node.delivery.ended(Outcome::Delivered), 0);
    // The real acknowledgement counts once, however often it is sent.
    adas.acknowledge(&frame).await;
    adas.acknowledge(&frame).await;
    assert_eq!(sent.outcome().await, Some(Outcome::Delivered));
    adas.round_trip().await;
    assert_eq!(node.delivery.ended(Outcome::Delivered), 1);
    // Both connections are still open.
    for (socket, id) in [(&mut adas, &ada_id), (&mut eves, &eve_id)] {
        let next = send(&node, node.notification(id, 3)).await;
        assert_eq!(ids(socket, 1).await, [next.id()]);
    }
}
