//! A page of the inbox that comes late: an item on it has been read, or taken back, since the store made the page.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use doorstep_application::delivery::Delivery;
use doorstep_domain::ports::{
    EnteredBy, Inbox, InboxItem, MockPusher, Pushed, Removed, StoreError, Which,
};
use doorstep_domain::{Notification, NotificationId, Timestamp, Topic, UserId};

use crate::support::{Door, ada, pass, popup, virtual_clock};

/// How long a page is on its way.
const LATE: Duration = Duration::from_millis(500);

/// An inbox whose items were not delivered yet.
struct SlowInbox(Mutex<Vec<InboxItem>>);

impl SlowInbox {
    fn taken(&self, wanted: impl Fn(NotificationId) -> bool) -> Vec<InboxItem> {
        self.0.lock().unwrap().extract_if(.., |item| wanted(item.notification.id)).collect()
    }
}

#[async_trait]
impl Inbox for SlowInbox {
    async fn add(&self, _: &[Notification], _: EnteredBy) -> Result<(), StoreError> {
        Ok(())
    }

    async fn undelivered(&self, _: &UserId, _: usize) -> Result<Vec<InboxItem>, StoreError> {
        let page = self.0.lock().unwrap().clone();
        tokio::time::sleep(LATE).await;
        Ok(page)
    }

    async fn mark_delivered(
        &self,
        _: &[(UserId, NotificationId)],
        _: Timestamp,
    ) -> Result<Vec<NotificationId>, StoreError> {
        Ok(Vec::new())
    }

    async fn page(
        &self,
        _: &UserId,
        _: bool,
        _: Option<NotificationId>,
        _: usize,
    ) -> Result<Vec<InboxItem>, StoreError> {
        Ok(Vec::new())
    }

    async fn mark_read(
        &self,
        _: &UserId,
        which: Which,
        _: Timestamp,
    ) -> Result<Option<Vec<InboxItem>>, StoreError> {
        Ok(Some(self.taken(|id| which == Which::All || which == Which::One(id))))
    }

    async fn unread(&self, _: &UserId) -> Result<u64, StoreError> {
        Ok(0)
    }

    async fn remove(&self, id: NotificationId) -> Result<Option<Removed>, StoreError> {
        let item = self.taken(|other| other == id).pop();
        Ok(item.map(|item| Removed { item, delivered: false }))
    }

    async fn remove_undelivered(
        &self,
        _: &UserId,
        _: Option<Topic>,
    ) -> Result<Vec<InboxItem>, StoreError> {
        Ok(self.taken(|_| true))
    }
}

/// Two items are in the inbox of a user who arrives. Before the page with both comes, `change` removes the first.
async fn pushed_after(change: impl AsyncFnOnce(&Delivery, NotificationId)) -> Vec<NotificationId> {
    let (door, clock) = (Door::default(), virtual_clock());
    let items = [1, 2].map(|n| popup(n, &clock));
    let first = items[0].id;
    let item = |notification| InboxItem { notification, by: EnteredBy::Policy, read_at: None };
    let inbox = SlowInbox(Mutex::new(items.map(item).into()));
    let pushed = Arc::new(Mutex::new(Vec::new()));
    let (mut client, seen_by_client) = (MockPusher::new(), pushed.clone());
    client.expect_push().returning(move |n, _, _| {
        seen_by_client.lock().unwrap().push(n.id);
        Ok(Pushed::Written)
    });
    let delivery = Delivery::builder(Arc::new(door.presence()), Arc::new(client), clock)
        .inbox(Arc::new(inbox))
        .start()
        .unwrap();
    door.set(true);
    delivery.arrived(&ada());
    pass(LATE / 2).await;
    change(&delivery, first).await;
    pass(LATE * 3).await;
    std::mem::take(&mut *pushed.lock().unwrap())
}

fn only_the_second() -> Vec<NotificationId> {
    vec![popup(2, &virtual_clock()).id]
}

#[tokio::test(start_paused = true)]
async fn an_item_that_was_read_is_not_pushed_again() {
    let read = async |delivery: &Delivery, id| {
        assert!(delivery.read(&ada(), Which::One(id)).await.unwrap());
    };
    assert_eq!(pushed_after(read).await, only_the_second());
}

#[tokio::test(start_paused = true)]
async fn no_item_is_pushed_again_when_all_were_read() {
    let read_all = async |delivery: &Delivery, _| {
        assert!(delivery.read(&ada(), Which::All).await.unwrap());
    };
    assert_eq!(pushed_after(read_all).await, []);
}

#[tokio::test(start_paused = true)]
async fn an_item_that_was_taken_back_is_not_pushed() {
    let recall = async |delivery: &Delivery, id| {
        assert!(delivery.recall(id).await.unwrap().is_some());
    };
    assert_eq!(pushed_after(recall).await, only_the_second());
}

#[tokio::test(start_paused = true)]
async fn no_item_is_pushed_when_all_were_taken_back() {
    let recall_all = async |delivery: &Delivery, _| {
        assert_eq!(delivery.recall_all(&ada(), None).await.unwrap(), 2);
    };
    assert_eq!(pushed_after(recall_all).await, []);
}
