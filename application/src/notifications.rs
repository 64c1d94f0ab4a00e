//! What users are told about.

use std::sync::Arc;

use async_trait::async_trait;
use doorstep_domain::ports::{Clock, EventHandler, HandlerError, Ids};
use doorstep_domain::{
    DomainEvent, Kind, Money, Notification, NotificationId, Payload, Timestamp, UserId,
};
use serde::Serialize;

use crate::delivery::Delivery;

/// Turns domain events into notifications and hands them to delivery. What becomes of them there is no
/// business of whoever raised the event.
#[derive(Clone)]
pub struct Notifications {
    delivery: Arc<Delivery>,
    clock: Arc<dyn Clock>,
    ids: Arc<dyn Ids>,
}

impl Notifications {
    /// Notifies through this delivery.
    pub fn new(delivery: Arc<Delivery>, clock: Arc<dyn Clock>, ids: Arc<dyn Ids>) -> Self {
        Self { delivery, clock, ids }
    }
}

#[async_trait]
impl EventHandler for Notifications {
    fn name(&self) -> &'static str {
        "notifications"
    }

    fn wants(&self, event: &DomainEvent) -> bool {
        matches!(event, DomainEvent::UserRegistered { .. } | DomainEvent::RewardGranted { .. })
    }

    async fn handle(&self, event: &DomainEvent) -> Result<(), HandlerError> {
        let Some(news) = News::of(event) else { return Ok(()) };
        let id = NotificationId::new(self.ids.next());
        let notification = news.notification(id, self.clock.now())?;
        // The receipt is for senders who want to know; here the outcome is counted and logged by delivery.
        drop(self.delivery.send(notification).await?);
        Ok(())
    }
}

/// What the client shows, a variant a kind; serialised it is the payload.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum News<'a> {
    /// `welcome`
    Welcome {
        #[serde(skip)]
        user: &'a UserId,
        username: &'a str,
    },
    /// `reward.granted`
    RewardGranted {
        #[serde(skip)]
        user: &'a UserId,
        reward: &'static str,
        amount: Money,
        reference: &'a str,
    },
}

impl<'a> News<'a> {
    fn of(event: &'a DomainEvent) -> Option<Self> {
        match event {
            DomainEvent::UserRegistered { user } => {
                Some(Self::Welcome { user: &user.id, username: user.username.as_str() })
            }
            DomainEvent::RewardGranted { user_id, reward, amount, reference, .. } => {
                Some(Self::RewardGranted {
                    user: user_id,
                    reward: reward.as_str(),
                    amount: *amount,
                    reference,
                })
            }
            DomainEvent::NotificationEnded(_) => None,
        }
    }

    fn notification(
        &self,
        id: NotificationId,
        now: Timestamp,
    ) -> Result<Notification, HandlerError> {
        let (user, kind) = match self {
            Self::Welcome { user, .. } => (*user, "welcome"),
            Self::RewardGranted { user, .. } => (*user, "reward.granted"),
        };
        Ok(Notification {
            id,
            user_id: user.clone(),
            kind: kind.parse::<Kind>()?,
            topic: None,
            payload: Payload::new(self)?,
            created_at: now,
            // What is configured for the kind.
            ttl: None,
        })
    }
}

#[cfg(test)]
mod tests {
    use doorstep_domain::{EntryKind, User};
    use uuid::Uuid;

    use super::*;

    fn notified(event: &DomainEvent) -> Notification {
        let id = NotificationId::new(Uuid::from_u128(9));
        News::of(event).unwrap().notification(id, Timestamp::from_micros(5)).unwrap()
    }

    fn user() -> UserId {
        UserId::from(Uuid::from_u128(1))
    }

    #[test]
    fn a_registration_is_a_welcome() {
        let event = DomainEvent::UserRegistered {
            user: User {
                id: user(),
                username: "Ada".parse().unwrap(),
                created_at: Timestamp::default(),
            },
        };
        let welcome = notified(&event);
        assert_eq!(welcome.kind.as_str(), "welcome");
        assert_eq!(welcome.user_id, user());
        assert_eq!(welcome.payload.as_str(), r#"{"username":"Ada"}"#);
        // Its TTL begins with the notification, not with the event that may have queued before.
        assert_eq!(welcome.created_at, Timestamp::from_micros(5));
    }

    #[test]
    fn a_reward_shows_its_amount_as_a_decimal_string() {
        let event = DomainEvent::RewardGranted {
            user_id: user(),
            reward: EntryKind::WelcomeGift,
            amount: Money::from_minor(100_000),
            reference: "r".into(),
            at: Timestamp::default(),
        };
        let reward = notified(&event);
        assert_eq!(reward.kind.as_str(), "reward.granted");
        assert_eq!(
            reward.payload.as_str(),
            r#"{"reward":"welcome_gift","amount":"1000.00","reference":"r"}"#
        );
    }
}
