//! The first promise: each notification has exactly one outcome, and it is observable.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use doorstep_application::delivery::{Acceptance, OnExpiry, Overflow, Refused, Rule, Rules};
use doorstep_domain::ports::{EventHandler, HandlerError};
use doorstep_domain::{DomainEvent, Ended, NotificationId, Outcome, UserId};
use doorstep_tests::client::User;
use doorstep_tests::server::{Doorstep, SqliteFile};
use serde_json::Value;
use uuid::Uuid;

use super::{
    ACKS, SOON, connected, id_of, nothing_waits, of_kind, quiet, registered, send, with_topic,
    with_ttl,
};
use crate::node::{Node, Options, eventually};

/// Records how notifications end.
#[derive(Default)]
struct Witness(Mutex<Vec<Ended>>);

impl Witness {
    fn outcomes(&self, id: NotificationId) -> Vec<Outcome> {
        let ended = self.0.lock().unwrap();
        ended.iter().filter(|end| end.id == id).map(|end| end.outcome).collect()
    }
}

#[async_trait]
impl EventHandler for Witness {
    fn name(&self) -> &'static str {
        "witness"
    }

    fn wants(&self, event: &DomainEvent) -> bool {
        matches!(event, DomainEvent::NotificationEnded(_))
    }

    async fn handle(&self, event: &DomainEvent) -> Result<(), HandlerError> {
        if let DomainEvent::NotificationEnded(ended) = event {
            self.0.lock().unwrap().push(ended.clone());
        }
        Ok(())
    }
}

#[tokio::test]
async fn promise_1_each_notification_ends_in_one_outcome_that_can_be_seen() {
    let rule = Rule { max_per_user: 1, ..Rule::default() };
    let rules = Rules {
        default: rule,
        kinds: [
            ("picky".parse().unwrap(), Rule { overflow: Overflow::Reject, ..rule }),
            ("kept".parse().unwrap(), Rule { on_expiry: OnExpiry::Inbox, ..rule }),
        ]
        .into(),
    };
    let witness = Arc::new(Witness::default());
    let node = Node::with(Options { rules, handler: Some(witness.clone()), ..quiet() }).await;
    let (ada, ada_id) = registered(&node, "ada").await;
    // A user needs no registration before the first notification.
    let stranger = || UserId::from(Uuid::now_v7());

    let mut ends = Vec::new();
    let mut socket = connected(&node, &ada, ACKS).await;
    // Wait for the first one: right after an arrival the inbox may still be being read.
    let first = send(&node, node.notification(&ada_id, 3)).await;
    let frame = socket.notification().await;
    socket.acknowledge(&frame).await;
    ends.push((first, Outcome::Delivered));
    eventually("the first is delivered", async || node.delivery.held().mailboxes == 0).await;
    let delivered = send(&node, node.notification(&ada_id, 3)).await;
    assert_eq!(delivered.state(), Acceptance::InFlight);
    let frame = socket.notification().await;
    socket.acknowledge(&frame).await;
    ends.push((delivered, Outcome::Delivered));

    let expired = send(&node, with_ttl(SOON, node.notification(&stranger(), 3))).await;
    assert_eq!(expired.state(), Acceptance::Waiting);
    ends.push((expired, Outcome::Expired));
    let now_or_never = with_ttl(Duration::ZERO, node.notification(&stranger(), 3));
    let never = send(&node, now_or_never).await;
    assert_eq!(never.state(), Acceptance::Ended(Outcome::Expired));
    ends.push((never, Outcome::Expired));
    let promoted = with_ttl(SOON, of_kind("kept", node.notification(&stranger(), 3)));
    ends.push((send(&node, promoted).await, Outcome::Promoted));

    let (topical, crowded) = (stranger(), stranger());
    let first = send(&node, with_topic("t", node.notification(&topical, 3))).await;
    let second = with_ttl(SOON, with_topic("t", node.notification(&topical, 3)));
    ends.push((first, Outcome::Replaced));
    ends.push((send(&node, second).await, Outcome::Expired));
    let oldest = send(&node, node.notification(&crowded, 3)).await;
    let latest = send(&node, with_ttl(SOON, node.notification(&crowded, 3))).await;
    ends.push((oldest, Outcome::Dropped));
    let rejected = of_kind("picky", node.notification(&crowded, 3));
    let rejected_id = rejected.id;
    assert!(matches!(node.delivery.send(rejected).await.unwrap_err().why, Refused::MailboxFull));
    ends.push((latest, Outcome::Expired));

    let mut expected = vec![(rejected_id, Outcome::Rejected)];
    for (receipt, outcome) in ends {
        expected.push((receipt.id(), outcome));
        assert_eq!(receipt.outcome().await, Some(outcome));
    }
    nothing_waits(&node).await;
    eventually("all events", async || witness.0.lock().unwrap().len() >= expected.len()).await;
    let text = node.request(reqwest::Method::GET, "/metrics").send().await.unwrap();
    assert_eq!(text.headers()["content-type"], "text/plain; version=0.0.4");
    let text = text.text().await.unwrap();
    for (id, outcome) in &expected {
        assert_eq!(witness.outcomes(*id), [*outcome], "one event");
        let times = expected.iter().filter(|(_, other)| other == outcome).count();
        assert_eq!(node.delivery.ended(*outcome), times as u64, "{outcome}");
        let counted = |kind| {
            let name = format!(
                "doorstep_notifications_ended_total{{kind=\"{kind}\",outcome=\"{outcome}\"}} "
            );
            let line = text.lines().find_map(|line| line.strip_prefix(&name));
            line.map_or(0, |count| count.parse().unwrap())
        };
        let all: usize = ["test", "picky", "kept"].into_iter().map(counted).sum();
        assert_eq!(all, times, "{outcome} in\n{text}");
    }
}

#[tokio::test]
async fn promise_1_what_a_stop_ends_is_told_too() {
    let witness = Arc::new(Witness::default());
    let node =
        Node::with(Options { handover: false, handler: Some(witness.clone()), ..quiet() }).await;
    let waits = send(&node, node.notification(&UserId::from(Uuid::now_v7()), 3)).await;
    let id = waits.id();
    let stopped = node.stop(Duration::from_secs(10)).await;
    assert_eq!((stopped.handed_over, stopped.dropped), (0, 1));
    assert_eq!(waits.outcome().await, Some(Outcome::Dropped));
    assert_eq!(witness.outcomes(id), [Outcome::Dropped], "one event");
}

#[tokio::test]
async fn promise_1_each_end_is_a_log_line_with_its_id() {
    let file = SqliteFile::new();
    // One client connects while its popups wait, the other one never connects.
    let server = Doorstep::serve(&file.url())
        .env("DOORSTEP_LOG__FORMAT", "json")
        .env("DOORSTEP_DELIVERY__TTL", "2s")
        .env("DOORSTEP_DELIVERY__KINDS__REWARD_GRANTED__TTL", "1h")
        .start()
        .await;
    let ada = User::register(server.url(), "ada").await;
    let mut socket = ada.connect(ACKS).await;
    let mut delivered = Vec::new();
    for _ in 0..2 {
        let frame = socket.notification().await;
        socket.acknowledge(&frame).await;
        delivered.push(id_of(&frame).to_string());
    }
    let eve = User::register(server.url(), "eve").await;
    let metrics = format!("{}/metrics", server.url());
    let expired = "doorstep_notifications_ended_total{kind=\"welcome\",outcome=\"expired\"} 1";
    eventually("the welcome of who does not come has expired", async || {
        reqwest::get(&metrics).await.unwrap().text().await.unwrap().contains(expired)
    })
    .await;
    server.terminate();
    let finished = server.wait().await;
    let lines: Vec<Value> =
        finished.stderr.lines().filter_map(|l| serde_json::from_str(l).ok()).collect();
    let ends: Vec<_> = lines.iter().filter(|l| l["message"] == "notification ended").collect();
    for id in &delivered {
        let of_it: Vec<_> = ends.iter().filter(|l| l["notification"] == **id).collect();
        assert_eq!(of_it.len(), 1, "one line for {id} in\n{}", finished.stderr);
        assert_eq!(
            (&of_it[0]["outcome"], &of_it[0]["user"]),
            (&"delivered".into(), &ada.id.as_str().into())
        );
    }
    let of_eve: Vec<_> = ends.iter().filter(|l| l["user"] == eve.id).collect();
    assert_eq!(of_eve.len(), 1, "her reward waits on, in the store: {of_eve:?}");
    assert_eq!((&of_eve[0]["outcome"], &of_eve[0]["kind"]), (&"expired".into(), &"welcome".into()));
    let id = of_eve[0]["notification"].as_str().unwrap();
    assert!(id.parse::<NotificationId>().is_ok(), "{id}");
}
