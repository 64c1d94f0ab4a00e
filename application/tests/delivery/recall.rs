//! A sender takes back what it sent, at every moment of its way.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use doorstep_application::delivery::{Delivery, Policy, Recall, Rule, Rules, Strategy};
use doorstep_domain::ports::{Attempt, Presence, PushError, Pushed, Pusher, RetractReason};
use doorstep_domain::{Notification, NotificationId, Outcome, Timestamp, UserId};

use crate::support::{VirtualClock, ada, pass, popup, virtual_clock};

/// One client that does not acknowledge by itself.
#[derive(Default)]
struct Client {
    there: Mutex<bool>,
    handed: Mutex<Vec<NotificationId>>,
    retracted: Mutex<Vec<NotificationId>>,
}

impl Client {
    fn start(strategy: Strategy) -> (Arc<Self>, Delivery, Arc<VirtualClock>) {
        let (client, clock) = (Arc::new(Self::default()), virtual_clock());
        let rule = Rule { policy: Policy::Deferred(strategy), ..Rule::default() };
        let delivery = Delivery::builder(client.clone(), client.clone(), clock.clone())
            .rules(Rules { default: rule, ..Rules::default() })
            .start();
        (client, delivery.unwrap(), clock)
    }

    async fn arrive(&self, delivery: &Delivery) {
        *self.there.lock().unwrap() = true;
        delivery.arrived(&ada());
        pass(Duration::from_millis(1)).await;
    }
}

#[async_trait]
impl Presence for Client {
    async fn is_online(&self, _: &UserId) -> bool {
        *self.there.lock().unwrap()
    }
}

#[async_trait]
impl Pusher for Client {
    async fn push(&self, n: &Notification, _: Attempt, _: Timestamp) -> Result<Pushed, PushError> {
        if !*self.there.lock().unwrap() {
            return Ok(Pushed::Nobody);
        }
        self.handed.lock().unwrap().push(n.id);
        Ok(Pushed::InFlight)
    }

    async fn retract(&self, _: &UserId, id: NotificationId, _: RetractReason) {
        self.retracted.lock().unwrap().push(id);
    }
}

#[expect(clippy::unnecessary_wraps, reason = "what a recall returns")]
fn recalled(pushed: bool) -> Option<Recall> {
    Some(Recall { outcome: Outcome::Recalled, pushed })
}

#[tokio::test(start_paused = true)]
async fn what_waits_is_taken_back_and_no_connection_is_ever_handed_it() {
    for strategy in [Strategy::Wake, Strategy::Poll] {
        let (client, delivery, clock) = Client::start(strategy);
        let receipt = delivery.send(popup(1, &clock)).await.unwrap();
        drop(delivery.send(popup(2, &clock)).await.unwrap());
        let id = receipt.id();
        assert_eq!(delivery.recall(id).await.unwrap(), recalled(false));
        assert_eq!(receipt.outcome().await, Some(Outcome::Recalled));
        assert_eq!(delivery.recall(id).await.unwrap(), None, "it is nowhere any more");
        client.arrive(&delivery).await;
        pass(Duration::from_secs(1)).await;
        assert_eq!(*client.handed.lock().unwrap(), [popup(2, &clock).id]);
        assert!(client.retracted.lock().unwrap().is_empty());
        assert_eq!(delivery.ended(Outcome::Recalled), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_in_flight_is_taken_back_and_retracted_and_a_late_acknowledgement_means_nothing() {
    let (client, delivery, clock) = Client::start(Strategy::Wake);
    client.arrive(&delivery).await;
    let receipt = delivery.send(popup(1, &clock)).await.unwrap();
    let id = receipt.id();
    assert_eq!(delivery.recall(id).await.unwrap(), recalled(true));
    assert_eq!(*client.retracted.lock().unwrap(), [id]);
    assert!(!delivery.acknowledged(&ada(), id));
    assert_eq!(receipt.outcome().await, Some(Outcome::Recalled));
    pass(Duration::from_secs(61)).await;
    assert_eq!(client.handed.lock().unwrap().len(), 1, "it is not pushed again");
    assert_eq!((delivery.ended(Outcome::Recalled), delivery.held().mailboxes), (1, 0));
    // What a connection had once may be shown, although it waits again.
    drop(delivery.send(popup(2, &clock)).await.unwrap());
    *client.there.lock().unwrap() = false;
    delivery.departed(&ada());
    pass(Duration::from_millis(1)).await;
    assert_eq!(delivery.held().waiting, 1);
    assert_eq!(delivery.recall(popup(2, &clock).id).await.unwrap(), recalled(true));
}

#[tokio::test(start_paused = true)]
async fn all_of_a_user_or_of_a_topic() {
    for strategy in [Strategy::Wake, Strategy::Poll] {
        let (client, delivery, clock) = Client::start(strategy);
        let topic = Some("order/7".parse().unwrap());
        let with_topic = |n| Notification { topic: topic.clone(), ..popup(n, &clock) };
        let bob = |n| Notification { user_id: "bob".parse().unwrap(), ..popup(n, &clock) };
        for n in [popup(1, &clock), with_topic(2), popup(3, &clock), bob(4)] {
            drop(delivery.send(n).await.unwrap());
        }
        assert_eq!(delivery.recall_all(&ada(), topic.as_ref()).await.unwrap(), 1);
        assert_eq!(delivery.recall_all(&ada(), topic.as_ref()).await.unwrap(), 0);
        assert_eq!(delivery.held_for(&ada()), (2, 0));
        assert_eq!(delivery.recall_all(&ada(), None).await.unwrap(), 2);
        assert_eq!(delivery.held().waiting, 1, "bob's is still there");
        assert_eq!(delivery.held().bytes, "\"hello\"".len());
        client.arrive(&delivery).await;
        assert_eq!(delivery.recall_all(&"bob".parse().unwrap(), None).await.unwrap(), 1);
        assert_eq!((delivery.held().waiting, delivery.held().bytes), (0, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_behind_one_that_is_taken_back_goes_on() {
    let (client, delivery, clock) = Client::start(Strategy::Wake);
    client.arrive(&delivery).await;
    for n in 1..=3 {
        drop(delivery.send(popup(n, &clock)).await.unwrap());
    }
    assert_eq!(delivery.recall_all(&ada(), None).await.unwrap(), 3);
    let receipt = delivery.send(popup(4, &clock)).await.unwrap();
    pass(Duration::from_millis(1)).await;
    delivery.acknowledged(&ada(), receipt.id());
    assert_eq!(receipt.outcome().await, Some(Outcome::Delivered));
}
