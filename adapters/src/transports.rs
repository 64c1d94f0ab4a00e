//! Several transports as one: a user is there if any of them says so, and a push goes to all.

use std::sync::Arc;

use async_trait::async_trait;
use doorstep_application::sign_ins::SessionEnd;
use doorstep_domain::ports::{Attempt, Presence, PushError, Pushed, Pusher};
use doorstep_domain::{Notification, Timestamp, TokenHash, UserId};

/// What a registry of live connections is to the rest.
pub trait Transport: Presence + Pusher + SessionEnd {
    /// What it carries, for the metrics.
    fn traffic(&self) -> Traffic;
}

/// The figures of one transport.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Traffic {
    /// What it is called, such as `websocket`.
    pub transport: &'static str,
    /// Live connections.
    pub connections: usize,
    /// Frames put into queues, since the start.
    pub frames_queued: u64,
}

/// The transports of this node.
pub struct Transports(Vec<Arc<dyn Transport>>);

impl Transports {
    /// Of these, asked in this order.
    pub fn new(transports: Vec<Arc<dyn Transport>>) -> Self {
        Self(transports)
    }

    /// What each of them carries.
    pub fn traffic(&self) -> Vec<Traffic> {
        self.0.iter().map(|transport| transport.traffic()).collect()
    }
}

#[async_trait]
impl Presence for Transports {
    async fn is_online(&self, user: &UserId) -> bool {
        for transport in &self.0 {
            if transport.is_online(user).await {
                return true;
            }
        }
        false
    }
}

#[async_trait]
impl Pusher for Transports {
    /// The strongest answer counts: written, then in flight, then nobody. That one transport failed matters
    /// only where no other took the notification.
    async fn push(
        &self,
        notification: &Notification,
        attempt: Attempt,
        deadline: Timestamp,
    ) -> Result<Pushed, PushError> {
        let (mut best, mut failed) = (Pushed::Nobody, None);
        // Every one is asked: a user's phone may be on one transport, and their laptop on another.
        for transport in &self.0 {
            match transport.push(notification, attempt, deadline).await {
                Ok(Pushed::Written) => best = Pushed::Written,
                Ok(Pushed::InFlight) if best != Pushed::Written => best = Pushed::InFlight,
                Ok(Pushed::Full) if best == Pushed::Nobody => best = Pushed::Full,
                Ok(Pushed::InFlight | Pushed::Full | Pushed::Nobody) => {}
                Err(error) => failed = Some(error),
            }
        }
        match (best, failed) {
            (Pushed::Nobody, Some(error)) => Err(error),
            (best, _) => Ok(best),
        }
    }
}

impl SessionEnd for Transports {
    fn ended(&self, user: &UserId, session: &TokenHash) {
        for transport in &self.0 {
            transport.ended(user, session);
        }
    }
}

#[cfg(test)]
mod tests {
    use doorstep_domain::{NotificationId, Payload};
    use uuid::Uuid;

    use super::*;

    /// Answers always the same.
    struct Says(Option<Pushed>);

    #[async_trait]
    impl Presence for Says {
        async fn is_online(&self, _: &UserId) -> bool {
            self.0 != Some(Pushed::Nobody)
        }
    }

    #[async_trait]
    impl Pusher for Says {
        async fn push(
            &self,
            _: &Notification,
            _: Attempt,
            _: Timestamp,
        ) -> Result<Pushed, PushError> {
            self.0.ok_or_else(|| PushError("out of order".into()))
        }
    }

    impl Transport for Says {
        fn traffic(&self) -> Traffic {
            Traffic { transport: "says", connections: 0, frames_queued: 0 }
        }
    }

    impl SessionEnd for Says {
        fn ended(&self, _: &UserId, _: &TokenHash) {}
    }

    #[tokio::test]
    async fn anybody_is_there_and_the_strongest_answer_counts() {
        use Pushed::{InFlight, Nobody, Written};
        let user = UserId::from(Uuid::from_u128(1));
        let notification = Notification {
            id: NotificationId::new(Uuid::from_u128(7)),
            user_id: user.clone(),
            kind: "welcome".parse().unwrap(),
            topic: None,
            payload: Payload::parse("{}").unwrap(),
            created_at: Timestamp::from_micros(1),
            ttl: None,
        };
        let cases = [
            (vec![], false, Some(Nobody)),
            (vec![Some(Nobody), Some(Nobody)], false, Some(Nobody)),
            (vec![Some(Nobody), Some(InFlight)], true, Some(InFlight)),
            (vec![Some(Written), Some(InFlight), Some(Nobody)], true, Some(Written)),
            (vec![None, Some(InFlight)], true, Some(InFlight)),
            (vec![Some(Nobody), None], true, None),
        ];
        for (answers, online, expected) in cases {
            let says = |answer: &Option<Pushed>| Arc::new(Says(*answer)) as Arc<dyn Transport>;
            let transports = Transports::new(answers.iter().map(says).collect());
            assert_eq!(transports.is_online(&user).await, online, "{answers:?}");
            let pushed = transports.push(&notification, Attempt::FIRST, Timestamp::MAX).await;
            assert_eq!(pushed.ok(), expected, "{answers:?}");
        }
    }
}
