//! A node stands still for longer than a notification's TTL and its users' patience, and goes on.

use std::time::Duration;

use doorstep_tests::scrape::Scrape;
use serde_json::json;

use super::{Nodes, draft};
use crate::node::eventually;

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_stood_still_pushes_nothing_late_and_ends_nothing_twice() {
    let nodes = Nodes::with(2, "[delivery]\nack_timeout = \"1s\"\n").await;
    let mut ada = nodes.user(0, "ada").connect("doorstep.v1").await;
    let mut bob = nodes.user(0, "bob").connect("doorstep.v1").await;
    let with_ttl = |user: &str, ttl: u32| {
        let mut draft = draft(user, 1);
        draft["ttl"] = json!(ttl);
        draft
    };
    // It is pushed, and would be pushed again after the time for its acknowledgement.
    let (pushed, _) = nodes.publish(0, with_ttl("ada", 2)).await;
    assert_eq!(ada.notification().await["id"], *pushed);
    nodes.server(0).pause();
    // These are for users at the node that stands still.
    let (waiting, _) = nodes.publish(1, with_ttl("ada", 1)).await;
    let (now_or_never, _) = nodes.publish(1, with_ttl("ada", 0)).await;
    // Bob's client hears no heartbeat, and goes to the other node.
    let (moved, _) = nodes.publish(1, with_ttl("bob", 60)).await;
    let mut elsewhere = nodes.user(1, "bob").connect("doorstep.v1").await;
    let shown = elsewhere.notification().await;
    assert_eq!(shown["id"], *moved);
    elsewhere.acknowledge(&shown).await;
    for (id, outcome) in [
        (&moved, "delivered"),
        (&pushed, "expired"),
        (&waiting, "expired"),
        (&now_or_never, "expired"),
    ] {
        nodes.becomes(1, id, outcome).await;
    }
    nodes.server(0).resume();
    nodes.is_ready(0).await;
    // What comes next on the old connections is new. A node that was away may show Bob's again: it is still in its time.
    let (next, _) = nodes.publish(1, draft("ada", 2)).await;
    let shown = ada.notification().await;
    assert_eq!(shown["id"], *next, "{shown}");
    ada.acknowledge(&shown).await;
    let (next_of_bob, _) = nodes.publish(0, draft("bob", 2)).await;
    loop {
        let frame = bob.frame().await;
        if frame["type"] == "notification" {
            if frame["id"] == *next_of_bob {
                bob.acknowledge(&frame).await;
                break;
            }
            assert_eq!(frame["id"], *moved);
        }
    }
    let all = [
        (&pushed, "expired"),
        (&waiting, "expired"),
        (&now_or_never, "expired"),
        (&moved, "delivered"),
        (&next, "delivered"),
        (&next_of_bob, "delivered"),
    ];
    for (id, outcome) in all {
        for node in 0..2 {
            nodes.becomes(node, id, outcome).await;
        }
    }
    // Each was told by one node. What node 0 had to propose has been decided when a barrier of its own has come by.
    let told = async || {
        let mut told = 0.0;
        for node in 0..2 {
            let scrape = Scrape::of(nodes.server(node).url()).await;
            told += scrape.sum("doorstep_notifications_ended_total", &[]);
        }
        told
    };
    eventually("all are told", async || told().await >= 6.0).await;
    assert!((told().await - 6.0).abs() < 0.5, "an outcome was told twice");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_stood_still_and_is_alone_ends_what_is_too_late() {
    let mut nodes = Nodes::start(2).await;
    let mut ada = nodes.user(0, "ada").connect("doorstep.v1").await;
    nodes.server(0).pause();
    let mut late = draft("ada", 1);
    late["ttl"] = json!(1);
    let (late, _) = nodes.publish(1, late).await;
    // Nobody is left who could end it.
    nodes.doors.pop().unwrap().server.kill().await;
    // This sleep waits for no condition: the TTL ends.
    tokio::time::sleep(Duration::from_millis(1100)).await;
    nodes.server(0).resume();
    nodes.is_ready(0).await;
    let (next, _) = nodes.publish(0, draft("ada", 2)).await;
    assert_eq!(ada.notification().await["id"], *next);
    nodes.becomes(0, &late, "expired").await;
}
