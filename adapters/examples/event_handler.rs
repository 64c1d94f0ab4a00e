//! A new handler on the event bus: it counts for each user how many notifications came too late. Delivery and the
//! other handlers do not know it.
//!
//! `cargo run -p doorstep-adapters --example event_handler`

use std::collections::HashMap;
use std::error::Error;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use doorstep_adapters::bus::Bus;
use doorstep_application::OutcomeAnnouncer;
use doorstep_application::delivery::Delivery;
use doorstep_domain::ports::{
    Attempt, Clock, EventHandler, HandlerError, Presence, PushError, Pushed, Pusher,
};
use doorstep_domain::{
    DomainEvent, Ended, Notification, NotificationId, Outcome, Payload, SystemClock, Timestamp,
    Ttl, UserId,
};

/// Counts the notifications that expired, by user.
#[derive(Default)]
struct TooLate(Mutex<HashMap<UserId, usize>>);

impl TooLate {
    fn of(&self, user: &UserId) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(user).copied().unwrap_or(0)
    }
}

#[async_trait]
impl EventHandler for TooLate {
    fn name(&self) -> &'static str {
        "too_late"
    }

    /// Other events never enter this handler's queue.
    fn wants(&self, event: &DomainEvent) -> bool {
        let expired = |ended: &Ended| ended.outcome == Outcome::Expired;
        matches!(event, DomainEvent::NotificationEnded(ended) if expired(ended))
    }

    async fn handle(&self, event: &DomainEvent) -> Result<(), HandlerError> {
        if let DomainEvent::NotificationEnded(ended) = event {
            let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            *counts.entry(ended.user_id.clone()).or_default() += 1;
        }
        Ok(())
    }
}

/// Ada is always here, and nobody else is.
struct OnlyAda(UserId);

#[async_trait]
impl Presence for OnlyAda {
    async fn is_online(&self, user: &UserId) -> bool {
        *user == self.0
    }
}

#[async_trait]
impl Pusher for OnlyAda {
    async fn push(&self, n: &Notification, _: Attempt, _: Timestamp) -> Result<Pushed, PushError> {
        Ok(if n.user_id == self.0 { Pushed::Written } else { Pushed::Nobody })
    }
}

#[tokio::main]
pub(crate) async fn main() -> Result<(), Box<dyn Error>> {
    let (ada, bob) = ("ada".parse::<UserId>()?, "bob".parse::<UserId>()?);

    // The bus, with the handler; and delivery, which raises an event for each end.
    let (too_late, wiring) = (Arc::new(TooLate::default()), Bus::wire());
    let announcer = Arc::new(OutcomeAnnouncer::new(wiring.publisher()));
    let bus = wiring.handler(too_late.clone()).start();
    let (users, clock) = (Arc::new(OnlyAda(ada.clone())), Arc::new(SystemClock::start()));
    let delivery = Delivery::builder(users.clone(), users, clock.clone());
    let delivery = delivery.outcomes(announcer).start()?;

    for (user, text) in [(&ada, "one"), (&bob, "two"), (&bob, "three")] {
        let (id, payload) = (NotificationId::now_v7(), Payload::new(text)?);
        let now = Notification::new(id, user.clone(), "message".parse()?, payload, clock.wall());
        let outcome = delivery.send(now.with_ttl(Ttl::ZERO)).await?.outcome().await;
        println!("{text} for {user}: {}", outcome.ok_or("delivery has stopped")?);
    }

    // The events come before the bus stops, because delivery stops first.
    delivery.stop(Duration::from_secs(5)).await;
    bus.stop().await;
    assert_eq!((too_late.of(&ada), too_late.of(&bob)), (0, 2));
    println!("too late for ada: {}, for bob: {}", too_late.of(&ada), too_late.of(&bob));
    Ok(())
}
