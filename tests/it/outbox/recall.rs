//! A backend takes back what still lies in its outbox, or is on its way from there.

use std::collections::{HashMap, HashSet};

use doorstep_tests::freezing_proxy::FreezingProxy;
use serde_json::json;
use sqlx::Connection as _;

use super::{Shop, call, publish};
use crate::backends::{BARE, Door};

/// Another node holds the lease, and does nothing.
const HELD_ELSEWHERE: &str = "UPDATE doorstep.consumer SET fence = fence + 1, holder = 'another', \
     held_until = clock_timestamp() + interval '1 hour'";
/// It has ended.
const LET_GO: &str = "UPDATE doorstep.consumer SET held_until = '-infinity'";
/// It has accepted everything.
const ACCEPT_ALL: &str = "WITH moved AS (DELETE FROM doorstep.outbox RETURNING *) \
     INSERT INTO doorstep.accepted SELECT * FROM moved";
/// A node that takes one notification.
const SMALL: &str = "\n[delivery]\nmax_pending = 1\n";

const NEVER_PUSHED: [&str; 2] = ["recalled", "false"];

/// Recalls, and says what was answered.
async fn recall(door: &Door, id: &str) -> [String; 2] {
    let answer = door.backend.recall(id).await;
    [answer[0].as_str().unwrap().to_owned(), answer[1].to_string()]
}

async fn recall_all(door: &Door, query: &str) -> i64 {
    let (status, answer) = door.backend.delete(&format!("/v1/notifications?{query}")).await;
    assert_eq!(status, 200, "{answer}");
    answer["recalled"].as_i64().unwrap()
}

#[tokio::test]
async fn what_waits_in_the_outbox_is_removed_and_its_outcome_told_like_any_other() {
    let shop = Shop::open().await;
    shop.change(HELD_ELSEWHERE).await;
    let mut door = shop.door().await;
    let mut backend = shop.backend().await;
    let wrong = publish(&mut backend, "ada", 1).await;
    publish(&mut backend, "ada", 2).await;
    for _ in 0..2 {
        assert_eq!(recall(&door, &wrong).await, NEVER_PUSHED);
    }
    assert_eq!(door.backend.state(&wrong).await["state"], "recalled");
    door.server.logged(&format!("notification={wrong}"), 1).await;
    assert_eq!(shop.number("SELECT count(*) FROM doorstep.outbox").await, 1);
    // One that would be put aside can be taken back too.
    let bad = call(&mut backend, "NULL, 'order.shipped', '1'").await;
    assert_eq!(recall(&door, &bad).await, NEVER_PUSHED);
    // What nobody wrote is unknown.
    let (status, _) =
        door.backend.delete("/v1/notifications/01890000-0000-7000-8000-000000000000").await;
    assert_eq!(status, 404);

    shop.change(LET_GO).await;
    let mut ada = door.user("ada").connect("doorstep.v1").await;
    assert_eq!(super::number(&ada.notification().await), 2, "the first one never came");
}

#[tokio::test]
async fn all_of_a_user_or_of_a_topic() {
    let shop = Shop::open().await;
    shop.change(HELD_ELSEWHERE).await;
    let door = shop.door().await;
    let mut backend = shop.backend().await;
    for topic in ["NULL", "'cart'", "'cart'", "'price'"] {
        call(&mut backend, &format!("'ada', 'order.shipped', '1', {topic}")).await;
    }
    let bobs = publish(&mut backend, "bob", 7).await;
    assert_eq!(recall_all(&door, "user_id=ada&topic=cart").await, 2);
    assert_eq!(recall_all(&door, "user_id=ada&topic=cart").await, 0);
    // With what is in memory.
    door.backend.send_to("ada", json!({})).await;
    assert_eq!(recall_all(&door, "user_id=ada").await, 3);
    shop.change(LET_GO).await;
    let mut bob = door.user("bob").connect("doorstep.v1").await;
    assert_eq!(bob.notification().await["id"], bobs);
}

#[tokio::test]
async fn what_the_node_has_read_and_has_no_room_for_is_taken_back_too() {
    let shop = Shop::open().await;
    let mut door = shop.door_with(SMALL).await;
    let mut backend = shop.backend().await;
    // In one transaction, so that the node reads all of them at once.
    let mut transaction = backend.begin().await.unwrap();
    let mut ids = Vec::new();
    for n in 0..4 {
        ids.push(publish(&mut transaction, "ada", n).await);
    }
    transaction.commit().await.unwrap();
    door.server.logged("the node takes nothing", 1).await;
    shop.until_none("SELECT count(*) FROM doorstep.outbox").await;
    for id in [&ids[2], &ids[1], &ids[0]] {
        assert_eq!(recall(&door, id).await, NEVER_PUSHED);
    }
    let mut ada = door.user("ada").connect("doorstep.v1").await;
    let frame = ada.notification().await;
    assert_eq!(frame["id"], ids[3], "the others never came");
    ada.acknowledge(&frame).await;
    shop.until_empty().await;
}

#[tokio::test]
async fn what_an_earlier_consumer_had_accepted_is_taken_back_and_may_have_been_pushed() {
    let shop = Shop::open().await;
    shop.change(HELD_ELSEWHERE).await;
    let mut backend = shop.backend().await;
    let mut ids = Vec::new();
    // More than are read at a time.
    for n in 0..503 {
        ids.push(publish(&mut backend, "ada", n).await);
    }
    shop.change(ACCEPT_ALL).await;
    let mut door = shop.door_with(SMALL).await;
    // Nobody can know what becomes of them: the other consumer may have them in memory.
    let (status, problem) = door.backend.delete(&format!("/v1/notifications/{}", ids[9])).await;
    assert_eq!(status, 503, "{problem}");
    let (status, _) = door.backend.delete("/v1/notifications?user_id=ada").await;
    assert_eq!(status, 503);

    shop.change(LET_GO).await;
    door.server.logged("the node takes nothing", 1).await;
    let maybe = ["recalled", "true"];
    for unread_or_read in [501, 300] {
        for _ in 0..2 {
            assert_eq!(recall(&door, &ids[unread_or_read]).await, maybe, "{unread_or_read}");
        }
    }
    assert_eq!(recall_all(&door, "user_id=ada").await, 501);
    shop.until_empty().await;
    let last = publish(&mut backend, "ada", 1_000).await;
    let mut ada = door.user("ada").connect("doorstep.v1").await;
    assert_eq!(ada.notification().await["id"], last, "the others never came");
}

#[tokio::test]
async fn while_the_database_is_away_only_what_is_in_memory_can_be_recalled() {
    let shop = Shop::open().await;
    let proxy = FreezingProxy::before(&shop.node_url).await;
    let mut door = Door::with(&format!("{BARE}\n[outbox]\nurl = {:?}\n", proxy.url())).await;
    door.server.logged("consumes the outbox", 1).await;
    let here = door.backend.send_to("ada", json!({})).await;
    proxy.freeze(true);
    let mut backend = shop.backend().await;
    let there = publish(&mut backend, "ada", 1).await;
    assert_eq!(recall(&door, &here).await, NEVER_PUSHED);
    let unknown = door.backend.delete_whole(&format!("/v1/notifications/{there}")).await;
    assert_eq!(unknown.status().as_u16(), 503);
    assert!(unknown.headers().contains_key("retry-after"));
    assert_eq!(door.backend.delete("/v1/notifications?user_id=ada").await.0, 503);
    proxy.freeze(false);
    // Either call may have reached the database late, and have taken it back there.
    while door.backend.delete(&format!("/v1/notifications/{there}")).await.0 == 503 {}
    shop.until_empty().await;
}

#[tokio::test]
async fn a_recall_that_races_with_the_consumer_leaves_one_outcome() {
    let shop = Shop::open().await;
    let mut door = shop.door().await;
    door.server.logged("consumes the outbox", 1).await;
    let mut ada = door.user("ada").connect("doorstep.v1").await;
    let mut backend = shop.backend().await;
    let mut said = HashMap::new();
    for n in 0..300 {
        let id = publish(&mut backend, "ada", n).await;
        said.insert(id.clone(), recall(&door, &id).await);
    }
    let last = publish(&mut backend, "ada", 300).await;
    let mut shown = HashSet::new();
    loop {
        let frame = ada.frame().await;
        if frame["type"] == "notification" {
            let id = frame["id"].as_str().unwrap().to_owned();
            if id == last {
                break;
            }
            shown.insert(id);
        }
    }
    let never: Vec<_> = said.iter().filter(|(_, said)| said[..] == NEVER_PUSHED).collect();
    assert!(!never.is_empty() && never.len() < 300, "{} of 300 in time: not a race", never.len());
    for (id, _) in never {
        assert!(!shown.contains(id), "{id} was shown, and its backend was told that it never was");
    }
    for (id, said) in &said {
        assert_eq!(
            (said[0].as_str(), &door.backend.state(id).await["state"]),
            ("recalled", &json!("recalled"))
        );
    }
}
