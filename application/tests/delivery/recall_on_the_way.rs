//! A sender takes back what is between two places: on its way to the inbox, or being claimed from a stopped node.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use doorstep_application::delivery::{Delivery, OnExpiry, Recall, Rule, Rules};
use doorstep_domain::ports::{
    EnteredBy, Handover, InboxItem, Left, MockInbox, MockPusher, Removed, StoreError,
};
use doorstep_domain::{Notification, NotificationId, Outcome, Timestamp, UserId};

use crate::support::{Door, VirtualClock, ada, pass, popup, virtual_clock};

const RECALLED: Option<Recall> = Some(Recall { outcome: Outcome::Recalled, pushed: true });

/// A delivery that promotes to this inbox what expires. Nobody is there.
fn promoting_to(inbox: MockInbox) -> (Delivery, Arc<VirtualClock>) {
    let clock = virtual_clock();
    let rule = Rule { on_expiry: OnExpiry::Inbox, ..Rule::default() };
    let presence = Arc::new(Door::default().presence());
    let delivery = Delivery::builder(presence, Arc::new(MockPusher::new()), clock.clone())
        .rules(Rules { default: rule, ..Rules::default() })
        .inbox(Arc::new(inbox))
        .start();
    (delivery.unwrap(), clock)
}

fn away<T>() -> Result<T, StoreError> {
    Err(StoreError::Unavailable("simulated".into()))
}

#[tokio::test(start_paused = true)]
async fn between_two_attempts_to_promote_it_is_taken_out_of_both_places() {
    let mut inbox = MockInbox::new();
    // The first attempt writes it and still reports a failure. A second one would write it again.
    inbox.expect_add().times(1).returning(|_, _| away());
    inbox.expect_remove().times(1).returning(|id| {
        let notification = Notification { id, ..popup(1, &virtual_clock()) };
        let item = InboxItem { notification, by: EnteredBy::Expiry, read_at: None };
        Ok(Some(Removed { item, delivered: false }))
    });
    let (delivery, clock) = promoting_to(inbox);
    let receipt = delivery.send(popup(1, &clock)).await.unwrap();
    pass(Duration::from_millis(60_050)).await;
    assert_eq!(delivery.recall(receipt.id()).await.unwrap(), RECALLED);
    assert_eq!(receipt.outcome().await, Some(Outcome::Recalled));
    pass(Duration::from_mins(5)).await;
    let ended = [Outcome::Recalled, Outcome::Promoted].map(|outcome| delivery.ended(outcome));
    assert_eq!((ended, delivery.held().waiting), ([1, 0], 0));
}

#[tokio::test(start_paused = true)]
async fn an_inbox_that_does_not_respond_is_said_and_nothing_has_changed() {
    let mut inbox = MockInbox::new();
    inbox.expect_add().times(1).returning(|_, _| away());
    inbox.expect_remove().times(1).returning(|_| away());
    inbox.expect_add().times(1).returning(|_, _| Ok(()));
    let (delivery, clock) = promoting_to(inbox);
    let receipt = delivery.send(popup(1, &clock)).await.unwrap();
    pass(Duration::from_millis(60_050)).await;
    assert!(matches!(delivery.recall(receipt.id()).await, Err(StoreError::Unavailable(_))));
    assert_eq!(receipt.outcome().await, Some(Outcome::Promoted));
}

#[tokio::test(start_paused = true)]
async fn all_of_a_user_includes_what_is_on_its_way_to_the_inbox() {
    let mut inbox = MockInbox::new();
    inbox.expect_add().times(1).returning(|_, _| away());
    inbox.expect_remove().times(2).returning(|_| Ok(None));
    inbox.expect_remove_undelivered().times(1).returning(|_, _| Ok(Vec::new()));
    let (delivery, clock) = promoting_to(inbox);
    for n in 1..=2 {
        drop(delivery.send(popup(n, &clock)).await.unwrap());
    }
    pass(Duration::from_millis(60_050)).await;
    drop(delivery.send(popup(3, &clock)).await.unwrap());
    assert_eq!(delivery.recall_all(&ada(), None).await.unwrap(), 3);
    pass(Duration::from_mins(5)).await;
    assert_eq!(delivery.ended(Outcome::Recalled), 3);
}

/// A store that a stopped node left one notification in. Each claim takes it out at once and returns 100 ms later.
struct SlowShelf(Mutex<Option<Notification>>);

#[async_trait]
impl Handover for SlowShelf {
    async fn leave(&self, _: &[Notification]) -> Result<(), StoreError> {
        away()
    }

    async fn take(&self, _: usize) -> Result<Vec<Notification>, StoreError> {
        Ok(Vec::new())
    }

    async fn take_for(&self, _: &UserId, _: usize) -> Result<Vec<Notification>, StoreError> {
        let taken = self.0.lock().unwrap().take();
        tokio::time::sleep(Duration::from_millis(100)).await;
        Ok(taken.into_iter().collect())
    }

    async fn take_one(&self, _: NotificationId) -> Result<Option<Notification>, StoreError> {
        Ok(self.0.lock().unwrap().take())
    }

    async fn take_expired(&self, _: Timestamp, _: usize) -> Result<Vec<Notification>, StoreError> {
        Ok(Vec::new())
    }

    async fn look(&self, _: u64, _: usize) -> Result<Vec<Left>, StoreError> {
        let left = self.0.lock().unwrap();
        Ok(left.iter().map(|n| Left { place: 1, user: n.user_id.clone() }).collect())
    }

    fn is_shared(&self) -> bool {
        true
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_being_claimed_from_a_stopped_node_is_found() {
    let (clock, door) = (virtual_clock(), Door::default());
    let left = Notification { ttl: Some(Rule::default().ttl), ..popup(1, &clock) };
    let id = left.id;
    let shelf = Arc::new(SlowShelf(Mutex::new(Some(left))));
    let delivery =
        Delivery::builder(Arc::new(door.presence()), Arc::new(MockPusher::new()), clock.clone())
            .handover(shelf)
            .start()
            .unwrap();
    // The node has noticed that the store holds something.
    pass(Duration::from_millis(1_500)).await;
    delivery.arrived(&ada());
    pass(Duration::from_millis(50)).await;
    assert_eq!(delivery.recall(id).await.unwrap(), RECALLED);
    pass(Duration::from_secs(1)).await;
    assert_eq!(delivery.held().waiting, 0);
}
