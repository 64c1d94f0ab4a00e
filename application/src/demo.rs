//! Supports the demo page, which shows each delivery policy with the same user: the user sends notifications to
//! themselves, with one kind per policy, and sees a record of what the server did and when.
//!
//! For demonstrations. A service that only delivers leaves it out of the composition root.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use doorstep_domain::ports::{Clock, EventHandler, HandlerError, Ids};
use doorstep_domain::{
    DomainEvent, Ended, Kind, KindError, Notification, NotificationId, Payload, PayloadError,
    Timestamp, Ttl, UserId,
};
use serde::Serialize;

use crate::delivery::{Acceptance, Delivery, OnExpiry, Policy, Refused, Rule, Strategy};

/// The delivery policies that are shown side by side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Lane {
    /// Pushed now or expired: the original bug.
    Immediate,
    /// Deferred, strategy `poll`.
    Poll,
    /// Deferred, strategy `wake`.
    Wake,
    /// Deferred, and promoted to the inbox when its TTL ends.
    Promote,
    /// Written to the inbox first.
    Inbox,
}

impl Lane {
    /// All of them, from the bug to the most reliable policy.
    pub const ALL: [Self; 5] =
        [Self::Immediate, Self::Poll, Self::Wake, Self::Promote, Self::Inbox];

    /// Short, so that the page can show within a minute what happens to a user who arrives after the TTL.
    const TTL: Ttl = Ttl::from_secs(8);

    /// The word on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Immediate => "immediate",
            Self::Poll => "poll",
            Self::Wake => "wake",
            Self::Promote => "promote",
            Self::Inbox => "inbox",
        }
    }

    /// The kind of notification that takes this lane: `demo.wake` and so on.
    pub fn kind(self) -> Result<Kind, KindError> {
        format!("demo.{}", self.as_str()).parse()
    }

    /// The rule for the kind, if the configuration has none.
    pub fn rule(self) -> Rule {
        let (policy, on_expiry) = match self {
            Self::Immediate => (Policy::Immediate, OnExpiry::Drop),
            Self::Poll => (Policy::Deferred(Strategy::Poll), OnExpiry::Drop),
            Self::Wake => (Policy::Deferred(Strategy::Wake), OnExpiry::Drop),
            Self::Promote => (Policy::Deferred(Strategy::Wake), OnExpiry::Inbox),
            Self::Inbox => (Policy::Inbox, OnExpiry::Drop),
        };
        Rule { policy, on_expiry, ttl: Self::TTL, ..Rule::default() }
    }
}

/// One thing that the server did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DemoStep {
    /// When it happened.
    pub at: Timestamp,
    /// What happened: `committed`, `event`, `ledger`, `accepted` or `ended`.
    pub what: &'static str,
    /// The notification's kind, if the step is about a notification.
    pub kind: Option<Kind>,
    /// Details: the event's name, the amount, the state, or the outcome.
    pub detail: String,
}

/// Why a notification was not sent.
#[derive(Debug, thiserror::Error)]
pub enum NotSent {
    /// The text does not fit into a payload.
    #[error(transparent)]
    Payload(#[from] PayloadError),
    /// Delivery did not accept it.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// A lane's name is not a kind. Never happens, because the names are fixed.
    #[error(transparent)]
    Kind(#[from] KindError),
}

/// Sends demo notifications, and records what the server does.
#[derive(Clone)]
pub struct Demo {
    delivery: Arc<Delivery>,
    clock: Arc<dyn Clock>,
    ids: Arc<dyn Ids>,
    record: Arc<Mutex<Timelines>>,
}

opaque!(Demo);

impl Demo {
    /// Creates a demo that sends through this delivery. As a handler on the bus, it records the events.
    pub fn new(delivery: Arc<Delivery>, clock: Arc<dyn Clock>, ids: Arc<dyn Ids>) -> Self {
        Self { delivery, clock, ids, record: Arc::default() }
    }

    /// Sends this text to the user, in this lane.
    pub async fn send(&self, user: &UserId, lane: Lane, text: &str) -> Result<DemoStep, NotSent> {
        #[derive(Serialize)]
        struct Text<'a> {
            lane: &'static str,
            text: &'a str,
        }
        let (kind, created_at) = (lane.kind()?, self.clock.wall());
        let notification = Notification {
            id: NotificationId::new(self.ids.next()),
            user_id: user.clone(),
            kind: kind.clone(),
            topic: None,
            payload: Payload::new(&Text { lane: lane.as_str(), text })?,
            created_at,
            ttl: None,
            trace: None,
        };
        let receipt = self.delivery.send(notification).await.map_err(|refused| refused.why)?;
        let detail = match receipt.state() {
            Acceptance::Waiting => "waiting",
            Acceptance::InFlight => "in_flight",
            Acceptance::Ended(outcome) => outcome.as_str(),
        };
        let step =
            DemoStep { at: created_at, what: "accepted", kind: Some(kind), detail: detail.into() };
        self.note(user, step.clone());
        Ok(step)
    }

    /// Returns the current time, and the recorded steps of this user, oldest first.
    pub fn record(&self, user: &UserId) -> (Timestamp, Vec<DemoStep>) {
        let record = self.record.lock().unwrap_or_else(PoisonError::into_inner);
        let steps = record.users.get(user).map(|steps| steps.iter().cloned().collect());
        (self.clock.wall(), steps.unwrap_or_default())
    }

    fn note(&self, user: &UserId, step: DemoStep) {
        self.record.lock().unwrap_or_else(PoisonError::into_inner).note(user, step);
    }
}

#[async_trait]
impl EventHandler for Demo {
    fn name(&self) -> &'static str {
        "demo"
    }

    fn wants(&self, event: &DomainEvent) -> bool {
        matches!(
            event,
            DomainEvent::UserRegistered { .. }
                | DomainEvent::RewardGranted { .. }
                | DomainEvent::NotificationEnded(_)
        )
    }

    async fn handle(&self, event: &DomainEvent) -> Result<(), HandlerError> {
        let step = |at, what, detail| DemoStep { at, what, kind: None, detail };
        match event {
            DomainEvent::UserRegistered { user } => {
                // The event was raised right after the commit, whenever this handler receives it.
                self.note(&user.id, step(user.created_at, "committed", "the user".into()));
                self.note(&user.id, step(user.created_at, "event", event.name().into()));
            }
            DomainEvent::RewardGranted { user_id, amount, at, .. } => {
                self.note(user_id, step(*at, "ledger", amount.to_string()));
                self.note(user_id, step(*at, "event", event.name().into()));
            }
            DomainEvent::NotificationEnded(Ended { user_id, kind, outcome, at, .. }) => {
                let (kind, detail) = (Some(kind.clone()), outcome.as_str().into());
                self.note(user_id, DemoStep { at: *at, what: "ended", kind, detail });
            }
            _ => {}
        }
        Ok(())
    }
}

/// The last steps of the last users.
#[derive(Default)]
struct Timelines {
    users: HashMap<UserId, VecDeque<DemoStep>>,
    /// In order of their first step.
    order: VecDeque<UserId>,
}

impl Timelines {
    /// How many users are remembered.
    const MAX_USERS: usize = 1000;
    /// How many steps are remembered per user.
    const MAX_STEPS: usize = 100;

    fn note(&mut self, user: &UserId, step: DemoStep) {
        if !self.users.contains_key(user) {
            if self.order.len() == Self::MAX_USERS
                && let Some(oldest) = self.order.pop_front()
            {
                self.users.remove(&oldest);
            }
            self.order.push_back(user.clone());
        }
        let steps = self.users.entry(user.clone()).or_default();
        if steps.len() == Self::MAX_STEPS {
            steps.pop_front();
        }
        steps.push_back(step);
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn the_record_is_bounded_and_keeps_the_newest() {
        let mut record = Timelines::default();
        let user = |n: usize| UserId::from(Uuid::from_u128(n as u128));
        let step =
            |detail: String| DemoStep { at: Timestamp::MAX, what: "event", kind: None, detail };
        for n in 0..=Timelines::MAX_USERS {
            record.note(&user(n), step(String::new()));
        }
        for n in 0..=Timelines::MAX_STEPS {
            record.note(&user(7), step(n.to_string()));
        }
        assert_eq!((record.users.len(), record.order.len()), (1000, 1000));
        assert!(!record.users.contains_key(&user(0)), "the oldest is forgotten");
        let steps = &record.users[&user(7)];
        assert_eq!((steps.len(), steps[99].detail.as_str()), (100, "100"));
    }

    #[test]
    fn every_lane_has_a_kind_and_a_rule_of_its_own() {
        let rules: Vec<_> = Lane::ALL.iter().map(|lane| lane.rule()).collect();
        for (i, lane) in Lane::ALL.iter().enumerate() {
            assert_eq!(lane.kind().unwrap().as_str(), format!("demo.{}", lane.as_str()));
            assert!(rules[..i].iter().all(|other| *other != rules[i]), "{lane:?}");
        }
    }
}
