//! What is kept in the inbox ends once, whichever node records its end first.

use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use doorstep_application::cluster::NodeId;
use doorstep_application::delivery::{Delivery, Policy, Rules, SharedLog};
use doorstep_contract::memory::Memory;
use doorstep_contract::memory_log::{MemoryLog, MemoryNode};
use doorstep_domain::ports::{
    Attempt, Clock, EnteredBy, Inbox, InboxItem, Outcomes, Presence, PushError, Pushed, Pusher,
    Removed, RetractReason, StoreError, Which,
};
use doorstep_domain::{
    Ended, Notification, NotificationId, Outcome, Payload, Timestamp, Topic, UserId,
};
use uuid::Uuid;

/// A node at which the user reads and does not acknowledge by themselves.
struct Node {
    way: MemoryNode,
    pushed: Mutex<Vec<NotificationId>>,
    told: Mutex<Vec<Outcome>>,
}

#[async_trait]
impl Presence for Node {
    async fn is_online(&self, _: &UserId) -> bool {
        true
    }
}

#[async_trait]
impl Pusher for Node {
    async fn push(&self, n: &Notification, _: Attempt, _: Timestamp) -> Result<Pushed, PushError> {
        self.pushed.lock().unwrap().push(n.id);
        Ok(Pushed::InFlight)
    }

    async fn retract(&self, _: &UserId, _: NotificationId, _: RetractReason) {}
}

impl Clock for Node {
    fn now(&self) -> Timestamp {
        self.way.now()
    }
}

#[async_trait]
impl Outcomes for Node {
    async fn ended(&self, ended: Vec<Ended>) {
        self.told.lock().unwrap().extend(ended.iter().map(|end| end.outcome));
    }
}

/// An inbox that does not mark anything until it is told to.
#[derive(Default)]
struct Inert {
    memory: Memory,
    marks: AtomicBool,
}

#[async_trait]
impl Inbox for Inert {
    async fn mark_delivered(
        &self,
        items: &[(UserId, NotificationId)],
        at: Timestamp,
    ) -> Result<Vec<NotificationId>, StoreError> {
        if !self.marks.load(SeqCst) {
            return Err(StoreError::Unavailable("not now".into()));
        }
        self.memory.mark_delivered(items, at).await
    }

    async fn add(&self, notifications: &[Notification], by: EnteredBy) -> Result<(), StoreError> {
        self.memory.add(notifications, by).await
    }

    async fn undelivered(&self, user: &UserId, limit: usize) -> Result<Vec<InboxItem>, StoreError> {
        self.memory.undelivered(user, limit).await
    }

    async fn page(
        &self,
        user: &UserId,
        unread_only: bool,
        before: Option<NotificationId>,
        limit: usize,
    ) -> Result<Vec<InboxItem>, StoreError> {
        self.memory.page(user, unread_only, before, limit).await
    }

    async fn mark_read(
        &self,
        user: &UserId,
        which: Which,
        at: Timestamp,
    ) -> Result<Option<Vec<InboxItem>>, StoreError> {
        self.memory.mark_read(user, which, at).await
    }

    async fn unread(&self, user: &UserId) -> Result<u64, StoreError> {
        self.memory.unread(user).await
    }

    async fn remove(&self, id: NotificationId) -> Result<Option<Removed>, StoreError> {
        self.memory.remove(id).await
    }

    async fn remove_undelivered(
        &self,
        user: &UserId,
        topic: Option<Topic>,
    ) -> Result<Vec<InboxItem>, StoreError> {
        self.memory.remove_undelivered(user, topic).await
    }
}

/// Two nodes with one log and one inbox.
struct Two {
    inbox: Arc<Inert>,
    nodes: [(Arc<Node>, Delivery); 2],
    user: UserId,
}

impl Two {
    fn start() -> Self {
        let (log, inbox) = (MemoryLog::default(), Arc::new(Inert::default()));
        let nodes = [1, 2].map(|number| {
            let way = log.node();
            // No two clocks are the same.
            way.set_clock(i64::from(number));
            let node = Arc::new(Node {
                way: way.clone(),
                pushed: Mutex::default(),
                told: Mutex::default(),
            });
            let shared = SharedLog {
                log: Arc::new(way),
                node: NodeId([number; 16]),
                control: None,
                elsewhere: None,
            };
            let delivery = Delivery::builder(node.clone(), node.clone(), node.clone())
                .rules(Rules::default())
                .inbox(inbox.clone())
                .outcomes(node.clone())
                .shared(shared)
                .start()
                .unwrap();
            (node, delivery)
        });
        Self { inbox, nodes, user: "ada".parse().unwrap() }
    }

    /// A notification that both nodes have pushed, and nobody has acknowledged.
    async fn in_flight_at_both() -> (Self, NotificationId) {
        let two = Self::start();
        for (_, delivery) in &two.nodes {
            while !delivery.serves_arrivals() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
        let id = NotificationId::new(Uuid::from_u128(7));
        let notification = Notification {
            id,
            user_id: two.user.clone(),
            kind: "order.shipped".parse().unwrap(),
            topic: None,
            payload: Payload::new("hello").unwrap(),
            created_at: two.nodes[0].0.now(),
            ttl: None,
            trace: None,
        };
        two.nodes[0].1.accept(Policy::Inbox, notification).await.unwrap();
        while two.nodes.iter().any(|(node, _)| node.pushed.lock().unwrap().is_empty()) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        (two, id)
    }

    /// What was told at both nodes, once the inbox marks and nothing is left to be told.
    async fn told(self) -> [Vec<Outcome>; 2] {
        self.inbox.marks.store(true, SeqCst);
        // The time of the test is virtual.
        tokio::time::sleep(Duration::from_mins(1)).await;
        self.nodes.map(|(node, _)| std::mem::take(&mut *node.told.lock().unwrap()))
    }
}

#[tokio::test(start_paused = true)]
async fn what_two_nodes_acknowledge_is_told_by_the_first_to_record_it() {
    let (two, id) = Two::in_flight_at_both().await;
    for (_, delivery) in &two.nodes {
        assert!(delivery.acknowledged(&two.user, id));
    }
    assert_eq!(two.told().await.concat(), [Outcome::Delivered]);
}

#[tokio::test(start_paused = true)]
async fn what_is_acknowledged_here_and_read_there_is_told_once() {
    for reader in [0, 1] {
        let (two, id) = Two::in_flight_at_both().await;
        assert!(two.nodes[0].1.acknowledged(&two.user, id));
        assert!(two.nodes[reader].1.read(&two.user, Which::One(id)).await.unwrap());
        assert_eq!(two.told().await.concat(), [Outcome::Delivered]);
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_acknowledged_here_and_recalled_has_the_outcome_that_the_recall_says() {
    for (asked, outcome) in [(0, Outcome::Delivered), (1, Outcome::Recalled)] {
        let (two, id) = Two::in_flight_at_both().await;
        assert!(two.nodes[0].1.acknowledged(&two.user, id));
        let recall = two.nodes[asked].1.recall(id).await.unwrap().expect("it is in the inbox");
        assert_eq!(recall.outcome, outcome);
        assert_eq!(two.told().await.concat(), [outcome]);
    }
}
