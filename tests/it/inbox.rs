//! The inbox over the wire: items are stored before they are pushed, and stay until they are read.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use doorstep_adapters::sql::Store;
use doorstep_application::delivery::{OnExpiry, Policy, Rule, Rules};
use doorstep_domain::ports::{EnteredBy, Inbox, InboxItem, Removed, StoreError, Which};
use doorstep_domain::{Notification, NotificationId, Outcome, Timestamp, Topic, Ttl, UserId};
use doorstep_tests::client::User;
use doorstep_tests::postgres::Postgres;
use doorstep_tests::server::SqliteFile;
use reqwest::Method;
use serde_json::Value;
use tokio::sync::watch;

use crate::node::{Node, Options, eventually};

const ACKS: &str = "doorstep.v1";

/// A node that stores everything in the inbox and sends no notifications by itself.
async fn keeping(database: &str) -> Node {
    let default = Rule { policy: Policy::Inbox, ..Rule::default() };
    Node::with(Options {
        notifications: false,
        rules: Rules { default, ..Rules::default() },
        database: database.to_owned(),
        ..Options::default()
    })
    .await
}

async fn registered(node: &Node, name: &str) -> (User, UserId) {
    let user = User::register(&node.url(), name).await;
    let id = user.id.parse().unwrap();
    (user, id)
}

/// The ids of a page, newest first, and the cursor of the next page.
async fn page(user: &User, query: &str) -> (Vec<String>, Option<String>) {
    let (status, body) = user.get(&format!("/v1/inbox{query}")).await;
    assert_eq!(status, 200, "{body}");
    let items = body["notifications"].as_array().unwrap();
    let id = |item: &Value| item["id"].as_str().unwrap().to_owned();
    (items.iter().map(id).collect(), body["next"].as_str().map(str::to_owned))
}

async fn unread(user: &User) -> u64 {
    user.get("/v1/me").await.1["unread"].as_u64().unwrap()
}

async fn read(node: &Node, user: &User, path: &str) -> u16 {
    let request = node.request(Method::POST, path).bearer_auth(&user.token);
    request.send().await.unwrap().status().as_u16()
}

/// Drops the connection, and waits until the node has noticed.
async fn gone(node: &Node, socket: doorstep_tests::client::Socket) {
    let before = node.connections.count();
    drop(socket);
    eventually("it is gone", async || node.connections.count() < before).await;
}

async fn check_kept_until_read(database: &str) {
    let node = keeping(database).await;
    let (ada, id) = registered(&node, "ada").await;
    let sent = node.notification(&id, 3);
    let sent_id = sent.id.to_string();
    let receipt = node.delivery.send(sent).await.unwrap();
    // An absent user costs no memory.
    assert_eq!(node.delivery.held(), doorstep_application::delivery::Held::default());
    let (status, body) = ada.get("/v1/inbox?unread=true").await;
    assert_eq!(status, 200);
    let item = &body["notifications"][0];
    assert_eq!((item["id"].as_str(), item["kind"].as_str()), (Some(&*sent_id), Some("test")));
    assert_eq!((&item["payload"], &item["topic"]), (&"xxx".into(), &Value::Null));
    assert!(item["created_at"].as_str().unwrap().ends_with('Z') && item["read_at"].is_null());

    // It is pushed on each arrival until it is acknowledged or read.
    for _ in 0..2 {
        let mut socket = ada.connect(ACKS).await;
        assert_eq!(socket.notification().await["id"], sent_id);
        gone(&node, socket).await;
    }
    let mut socket = ada.connect(ACKS).await;
    let frame = socket.notification().await;
    socket.acknowledge(&frame).await;
    assert_eq!(receipt.outcome().await, Some(Outcome::Delivered));
    gone(&node, socket).await;
    // It is delivered, so it is not pushed again, and it is still unread.
    let mut socket = ada.connect(ACKS).await;
    let second = node.notification(&id, 3);
    let second_id = second.id.to_string();
    let second_receipt = node.delivery.send(second).await.unwrap();
    assert_eq!(socket.notification().await["id"], second_id);
    assert_eq!(unread(&ada).await, 2);

    // Other users have no access.
    let (eve, _) = registered(&node, "eve").await;
    let one = format!("/v1/inbox/{second_id}/read");
    assert_eq!(read(&node, &eve, &one).await, 404);
    assert_eq!(read(&node, &eve, "/v1/inbox/read").await, 204);
    assert_eq!(read(&node, &ada, "/v1/inbox/nonsense/read").await, 404);
    assert_eq!((page(&eve, "").await.0.len(), unread(&ada).await), (0, 2));
    // Reading counts as delivery, without an acknowledgement. Reading again changes nothing.
    for _ in 0..2 {
        assert_eq!(read(&node, &ada, &one).await, 204);
        assert_eq!(unread(&ada).await, 1);
    }
    assert_eq!(second_receipt.outcome().await, Some(Outcome::Delivered));
    assert_eq!(page(&ada, "?unread=true").await.0, std::slice::from_ref(&sent_id));
    assert_eq!(page(&ada, "").await.0, [second_id, sent_id]);
    for _ in 0..2 {
        assert_eq!(read(&node, &ada, "/v1/inbox/read").await, 204);
        assert_eq!(unread(&ada).await, 0);
    }
    gone(&node, socket).await;
    let mut socket = ada.connect(ACKS).await;
    let third = node.notification(&id, 3);
    let third_id = third.id.to_string();
    drop(node.delivery.send(third).await.unwrap());
    assert_eq!(socket.notification().await["id"], third_id, "and nothing before it");
    assert_eq!(node.delivery.ended(Outcome::Delivered), 2);
}

#[tokio::test]
async fn items_are_pushed_until_acknowledged_and_unread_until_read_on_sqlite() {
    Box::pin(check_kept_until_read(&SqliteFile::new().url())).await;
}

#[tokio::test]
async fn items_are_pushed_until_acknowledged_and_unread_until_read_on_postgres() {
    Box::pin(check_kept_until_read(&Postgres::shared().await.database().await)).await;
}

#[tokio::test]
async fn pages_of_the_inbox_meet() {
    let node = keeping("sqlite::memory:").await;
    let (ada, id) = registered(&node, "ada").await;
    let mut sent = Vec::new();
    for _ in 0..5 {
        let notification = node.notification(&id, 3);
        sent.insert(0, notification.id.to_string());
        drop(node.delivery.send(notification).await.unwrap());
    }
    let (first, next) = page(&ada, "?limit=2").await;
    let (second, next) = page(&ada, &format!("?limit=2&before={}", next.unwrap())).await;
    let (third, end) = page(&ada, &format!("?limit=2&before={}", next.unwrap())).await;
    assert_eq!(([first, second, third].concat(), end), (sent, None));
    for wrong in ["?limit=0", "?limit=101", "?before=x", "?unread=yes", "?what=1"] {
        let (status, problem) = ada.get(&format!("/v1/inbox{wrong}")).await;
        assert_eq!((status, problem["errors"][0]["in"].as_str()), (422, Some("query")), "{wrong}");
    }
    let without = node.request(Method::GET, "/v1/inbox").send().await.unwrap();
    assert_eq!(without.status(), 401);
}

#[tokio::test]
async fn deferred_notifications_and_inbox_items_arrive_in_one_order() {
    let kept = Rule { policy: Policy::Inbox, ..Rule::default() };
    let rules = Rules { kinds: [("kept".parse().unwrap(), kept)].into(), ..Rules::default() };
    let node = Node::with(Options { notifications: false, rules, ..Options::default() }).await;
    let (ada, id) = registered(&node, "ada").await;
    let mut order = Vec::new();
    for number in 0..8 {
        let kind = if number % 2 == 0 { "kept" } else { "test" };
        let kind = kind.parse().unwrap();
        let notification = Notification { kind, ..node.notification(&id, 3) };
        order.push(notification.id.to_string());
        drop(node.delivery.send(notification).await.unwrap());
    }
    let mut socket = ada.connect(ACKS).await;
    let mut seen = Vec::new();
    for _ in &order {
        let frame = socket.notification().await;
        seen.push(frame["id"].as_str().unwrap().to_owned());
        socket.acknowledge(&frame).await;
    }
    assert_eq!(seen, order);
}

/// An inbox whose store is unavailable until the test says otherwise.
struct Away {
    store: Arc<Store>,
    back: watch::Receiver<bool>,
}

/// Shared by all nodes of this module; only one test uses it.
static BACK: std::sync::LazyLock<watch::Sender<bool>> =
    std::sync::LazyLock::new(|| watch::channel(false).0);

impl Away {
    fn before(store: Arc<Store>) -> Arc<dyn Inbox> {
        Arc::new(Self { store, back: BACK.subscribe() })
    }

    fn check(&self) -> Result<(), StoreError> {
        if *self.back.borrow() { Ok(()) } else { Err(StoreError::Unavailable("away".into())) }
    }
}

#[async_trait]
impl Inbox for Away {
    async fn add(&self, notifications: &[Notification], by: EnteredBy) -> Result<(), StoreError> {
        if let Err(away) = self.check() {
            // The worst case: it was written, and a failure is reported.
            self.store.add(notifications, by).await?;
            return Err(away);
        }
        self.store.add(notifications, by).await
    }

    async fn undelivered(&self, user: &UserId, limit: usize) -> Result<Vec<InboxItem>, StoreError> {
        self.check()?;
        self.store.undelivered(user, limit).await
    }

    async fn mark_delivered(
        &self,
        items: &[(UserId, NotificationId)],
        at: Timestamp,
    ) -> Result<Vec<NotificationId>, StoreError> {
        self.check()?;
        self.store.mark_delivered(items, at).await
    }

    async fn page(
        &self,
        user: &UserId,
        unread_only: bool,
        before: Option<NotificationId>,
        limit: usize,
    ) -> Result<Vec<InboxItem>, StoreError> {
        self.store.page(user, unread_only, before, limit).await
    }

    async fn mark_read(
        &self,
        user: &UserId,
        which: Which,
        at: Timestamp,
    ) -> Result<Option<Vec<InboxItem>>, StoreError> {
        self.check()?;
        self.store.mark_read(user, which, at).await
    }

    async fn unread(&self, user: &UserId) -> Result<u64, StoreError> {
        self.store.unread(user).await
    }

    async fn remove(&self, id: NotificationId) -> Result<Option<Removed>, StoreError> {
        self.store.remove(id).await
    }

    async fn remove_undelivered(
        &self,
        user: &UserId,
        topic: Option<Topic>,
    ) -> Result<Vec<InboxItem>, StoreError> {
        self.store.remove_undelivered(user, topic).await
    }
}

#[tokio::test]
async fn expired_notifications_are_promoted_once_although_the_store_was_away() {
    const COUNT: usize = 1_500;
    let rule = Rule {
        on_expiry: OnExpiry::Inbox,
        ttl: Ttl::new(Duration::from_millis(20)).unwrap(),
        max_per_user: COUNT,
        ..Rule::default()
    };
    let node = Node::with(Options {
        notifications: false,
        rules: Rules { default: rule, ..Rules::default() },
        inbox: Away::before,
        ..Options::default()
    })
    .await;
    let (ada, id) = registered(&node, "ada").await;
    let mut receipts = Vec::new();
    for _ in 0..COUNT {
        receipts.push(node.delivery.send(node.notification(&id, 3)).await.unwrap());
    }
    eventually("the first try has failed", async || unread(&ada).await > 0).await;
    assert_eq!(
        node.delivery.ended(Outcome::Promoted),
        0,
        "the node does not know yet that it is stored"
    );
    BACK.send_replace(true);
    for receipt in receipts {
        assert_eq!(receipt.outcome().await, Some(Outcome::Promoted));
    }
    assert_eq!(unread(&ada).await, COUNT as u64, "each of them once");
    assert_eq!(node.delivery.ended(Outcome::Promoted), COUNT as u64);
    // It is pushed from the inbox, like every other item there.
    let mut socket = ada.connect(ACKS).await;
    let frame = socket.notification().await;
    socket.acknowledge(&frame).await;
    assert_eq!(node.delivery.ended(Outcome::Expired), 0);
}
