//! The sixth and the seventh promise: what is evicted, and what is rejected.

use std::collections::HashSet;

use doorstep_application::delivery::{Limits, Overflow, Receipt, Refused, Rule, Rules};
use doorstep_domain::{Outcome, Payload, PayloadError};

use super::{
    ACKS, PLAIN, connected, id_of, ids, nothing_waits, of_kind, quiet, registered, send, with_topic,
};
use crate::node::{Node, Options};

#[tokio::test]
async fn promise_6_a_newer_one_of_the_topic_replaces_the_one_that_waits() {
    let node = Node::with(quiet()).await;
    let (ada, id) = registered(&node, "ada").await;
    let price = |topic| with_topic(topic, node.notification(&id, 3));
    let (old, other, new) = (price("price/A"), price("price/B"), price("price/A"));
    let old = send(&node, old).await;
    let other = send(&node, other).await;
    let new = send(&node, new).await;
    assert_eq!(old.outcome().await, Some(Outcome::Replaced));
    let mut socket = connected(&node, &ada, PLAIN).await;
    let frames = [socket.notification().await, socket.notification().await];
    let seen: HashSet<_> = frames.iter().map(id_of).collect();
    assert_eq!(seen, HashSet::from([other.id(), new.id()]));
    assert!(frames.iter().all(|frame| frame["topic"].as_str().unwrap().starts_with("price/")));
    assert_eq!(new.outcome().await, Some(Outcome::Delivered));
    // A delivered notification is not replaced: both are seen.
    let next = send(&node, price("price/A")).await;
    assert_eq!(ids(&mut socket, 1).await, [next.id()]);
    assert_eq!(node.delivery.ended(Outcome::Replaced), 1);
}

#[tokio::test]
async fn promise_7_a_mailbox_is_bounded_and_says_so() {
    let drop_oldest = Rule { max_per_user: 3, ..Rule::default() };
    let kinds = [("picky".parse().unwrap(), Rule { overflow: Overflow::Reject, ..drop_oldest })];
    let rules = Rules { default: drop_oldest, kinds: kinds.into() };
    let node = Node::with(Options { rules, ..quiet() }).await;
    let (ada, id) = registered(&node, "ada").await;
    let mut receipts = Vec::new();
    for _ in 0..5 {
        receipts.push(send(&node, node.notification(&id, 3)).await);
    }
    let refused = node.delivery.send(of_kind("picky", node.notification(&id, 3))).await;
    assert!(matches!(refused.unwrap_err().why, Refused::MailboxFull));
    let newest: Vec<_> = receipts.iter().skip(2).map(Receipt::id).collect();
    for dropped in receipts.drain(..2) {
        assert_eq!(dropped.outcome().await, Some(Outcome::Dropped));
    }
    let mut socket = connected(&node, &ada, PLAIN).await;
    assert_eq!(ids(&mut socket, 3).await, newest);
    nothing_waits(&node).await;
}

#[tokio::test]
async fn promise_7_a_node_is_bounded_in_number_and_bytes() {
    for (limits, fit) in [
        (Limits { max_pending: 3, ..Limits::default() }, 3),
        // A payload of 98 letters is 100 bytes of JSON.
        (Limits { max_pending_bytes: 250, ..Limits::default() }, 2),
    ] {
        let node = Node::with(Options { limits, ..quiet() }).await;
        let (ada, id) = registered(&node, "ada").await;
        for _ in 0..fit {
            drop(send(&node, node.notification(&id, 98)).await);
        }
        assert_eq!(node.delivery.held().bytes, fit * 100);
        let refused = node.delivery.send(node.notification(&id, 98)).await;
        assert!(matches!(refused.unwrap_err().why, Refused::NodeFull));
        assert_eq!(node.delivery.ended(Outcome::Rejected), 1);
        // A delivery makes room.
        let mut socket = connected(&node, &ada, PLAIN).await;
        ids(&mut socket, fit).await;
        nothing_waits(&node).await;
        drop(send(&node, node.notification(&id, 98)).await);
        ids(&mut socket, 1).await;
    }
}

#[tokio::test]
async fn a_payload_over_32_kib_is_refused_where_it_is_made() {
    let node = Node::with(quiet()).await;
    let (ada, id) = registered(&node, "ada").await;
    let over = Payload::new(&"x".repeat(Payload::MAX_BYTES - 1)).unwrap_err();
    assert_eq!(over, PayloadError::TooLarge(Payload::MAX_BYTES + 1));
    assert!(over.to_string().contains("at most 32768 bytes"), "{over}");
    // The largest accepted payload arrives complete.
    let mut socket = connected(&node, &ada, ACKS).await;
    drop(send(&node, node.notification(&id, Payload::MAX_BYTES - 2)).await);
    let frame = socket.notification().await;
    assert_eq!(frame["payload"].as_str().unwrap().len(), Payload::MAX_BYTES - 2);
}

/// A burst far larger than `max_per_user`, an outbox and a batch, over a real socket.
#[tokio::test]
async fn promise_7_sixty_thousand_at_once_reach_a_user_who_reads() {
    let node = Node::with(quiet()).await;
    let (ada, id) = registered(&node, "ada").await;
    for (subprotocol, count) in [(ACKS, 1_000), (ACKS, 60_000), (PLAIN, 1_000)] {
        let mut socket = connected(&node, &ada, subprotocol).await;
        let before = node.delivery.ended(Outcome::Delivered);
        let send_all = async {
            let mut sent = Vec::new();
            for _ in 0..count {
                sent.push(send(&node, node.notification(&id, 3)).await.id());
            }
            sent
        };
        let read_all = async {
            let mut seen = Vec::new();
            while seen.len() < count {
                let frame = socket.notification().await;
                seen.push(id_of(&frame));
                if subprotocol == ACKS {
                    socket.acknowledge(&frame).await;
                }
            }
            seen
        };
        let (sent, seen) = tokio::join!(send_all, read_all);
        assert!(sent == seen, "in order, each once, on one connection");
        nothing_waits(&node).await;
        assert_eq!(node.delivery.ended(Outcome::Delivered) - before, count as u64);
        assert_eq!(node.delivery.ended(Outcome::Dropped), 0);
        super::gone(&node, socket).await;
    }
}
