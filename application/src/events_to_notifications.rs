//! Makes notifications from domain events.

use std::collections::{HashMap, VecDeque};
use std::future::poll_fn;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::task::Poll;

use async_trait::async_trait;
use doorstep_domain::ports::{Clock, EventHandler, HandlerError, Ids};
use doorstep_domain::{
    CloseReason, DomainEvent, Kind, Money, Notification, NotificationId, Payload, Position,
    Timestamp, UserId,
};
use futures_util::FutureExt as _;
use serde::Serialize;

use crate::delivery::{Delivery, Policy};
use crate::waiting_news::WaitingNews;

/// Turns domain events into notifications and passes them to delivery. The source of the event does not learn
/// what becomes of them.
#[derive(Clone)]
pub struct Notifier {
    delivery: Arc<Delivery>,
    clock: Arc<dyn Clock>,
    ids: Arc<dyn Ids>,
    position_closed: PositionClosedPolicies,
    waiting: Arc<WaitingNews>,
}

opaque!(Notifier);

/// The delivery policy of `position.closed` for each reason; `None` means the policy of the kind's rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PositionClosedPolicies {
    /// The user closed it, and so is there.
    pub user: Option<Policy>,
    /// The price crossed the stop-loss; the user is probably away.
    pub stop_loss: Option<Policy>,
    /// The price crossed the take-profit; the user is probably away.
    pub take_profit: Option<Policy>,
    /// The loss reached the cost; the user is probably away.
    pub liquidated: Option<Policy>,
}

impl Default for PositionClosedPolicies {
    fn default() -> Self {
        let kept = Some(Policy::Inbox);
        Self { user: None, stop_loss: kept, take_profit: kept, liquidated: kept }
    }
}

impl PositionClosedPolicies {
    fn policy(self, reason: CloseReason) -> Option<Policy> {
        match reason {
            CloseReason::User => self.user,
            CloseReason::StopLoss => self.stop_loss,
            CloseReason::TakeProfit => self.take_profit,
            CloseReason::Liquidated => self.liquidated,
        }
    }
}

impl Notifier {
    /// Creates a notifier that sends through this delivery.
    pub fn new(delivery: Arc<Delivery>, clock: Arc<dyn Clock>, ids: Arc<dyn Ids>) -> Self {
        let position_closed = PositionClosedPolicies::default();
        Self { delivery, clock, ids, position_closed, waiting: Arc::default() }
    }

    /// Sets the policies for closed positions.
    #[must_use]
    pub fn position_closed(self, position_closed: PositionClosedPolicies) -> Self {
        Self { position_closed, ..self }
    }

    /// The notification that an event becomes, and its policy.
    fn notification(
        &self,
        event: &DomainEvent,
    ) -> Result<Option<(Policy, Notification)>, HandlerError> {
        let Some(news) = News::of(event) else { return Ok(None) };
        let id = NotificationId::new(self.ids.next());
        let notification = news.notification(id, self.clock.wall())?;
        let by_reason = news.close_reason().and_then(|reason| self.position_closed.policy(reason));
        let policy = by_reason.unwrap_or_else(|| self.delivery.rule_of(&notification.kind).policy);
        Ok(Some((policy, notification)))
    }

    async fn send(&self, policy: Policy, notification: Notification) -> Result<(), HandlerError> {
        // Without a receipt: delivery counts and logs the outcome.
        Ok(self.waiting.send(&self.delivery, policy, notification).await?)
    }
}

#[async_trait]
impl EventHandler for Notifier {
    fn name(&self) -> &'static str {
        "notifications"
    }

    fn wants(&self, event: &DomainEvent) -> bool {
        News::of(event).is_some()
    }

    async fn handle(&self, event: &DomainEvent) -> Result<(), HandlerError> {
        match self.notification(event)? {
            Some((policy, notification)) => self.send(policy, notification).await,
            None => Ok(()),
        }
    }

    fn at_a_time(&self) -> NonZeroUsize {
        AT_A_TIME
    }

    /// What goes to the inbox is written together: one at a time, the popups of a busy market would be written more
    /// slowly than its positions are closed.
    async fn handle_together(&self, events: &[Arc<DomainEvent>]) -> Vec<Result<(), HandlerError>> {
        let mut results: Vec<_> = events.iter().map(|_| Ok(())).collect();
        let mut left = VecDeque::new();
        for (index, event) in events.iter().enumerate() {
            match self.notification(event) {
                Ok(Some((policy, notification))) => {
                    left.push_back(Unsent { index, policy, notification });
                }
                Ok(None) => {}
                Err(error) => results[index] = Err(error),
            }
        }
        while !left.is_empty() {
            left = self.send_together(left, &mut results).await;
        }
        results
    }
}

impl Notifier {
    /// Sends these, with one write to the inbox, and returns those that come after it: **a user's notifications are sent in
    /// order**, so what is not for the inbox waits for what is on its way there, and so does all that follows it.
    async fn send_together(
        &self,
        unsent: VecDeque<Unsent>,
        results: &mut [Result<(), HandlerError>],
    ) -> VecDeque<Unsent> {
        let (mut writing, mut later) = (Vec::new(), VecDeque::new());
        // Users with something on its way to the inbox; `true` if something waits behind it.
        let mut users: HashMap<UserId, bool> = HashMap::new();
        for one in unsent {
            let user = one.notification.user_id.clone();
            let kept = one.policy == Policy::Inbox;
            match users.get_mut(&user) {
                Some(waits) if *waits || !kept => {
                    *waits = true;
                    later.push_back(one);
                }
                _ if kept => {
                    users.insert(user, false);
                    let mut sending = self.send(one.policy, one.notification).boxed();
                    // The first poll takes its place among the writes.
                    match poll_fn(|cx| Poll::Ready(sending.as_mut().poll(cx))).await {
                        Poll::Ready(result) => results[one.index] = result,
                        Poll::Pending => writing.push((one.index, sending)),
                    }
                }
                _ => results[one.index] = self.send(one.policy, one.notification).await,
            }
        }
        for (index, sending) in writing {
            results[index] = sending.await;
        }
        later
    }
}

/// How many events become notifications together.
const AT_A_TIME: NonZeroUsize = NonZeroUsize::new(256).unwrap();

/// A notification that is to be sent.
struct Unsent {
    /// Of its event.
    index: usize,
    policy: Policy,
    notification: Notification,
}

/// What the client shows, one variant per kind. Serialised, it is the payload.
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
    /// `position.closed`
    PositionClosed {
        #[serde(skip)]
        user: &'a UserId,
        #[serde(skip)]
        closed_by: CloseReason,
        position_id: String,
        symbol: &'a str,
        side: &'static str,
        quantity: String,
        fill_price: String,
        exit_price: String,
        realised_pnl: Money,
        reason: &'static str,
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
            DomainEvent::PositionClosed { position, .. } => Self::of_closed(position),
            _ => None,
        }
    }

    fn of_closed(position: &'a Position) -> Option<Self> {
        let closed = position.closed?;
        let order = &position.order;
        Some(Self::PositionClosed {
            user: &position.user_id,
            closed_by: closed.reason,
            position_id: position.id.to_string(),
            symbol: order.symbol.as_str(),
            side: order.side.as_str(),
            quantity: order.quantity.to_string(),
            fill_price: position.fill_price.to_string(),
            exit_price: closed.exit_price.to_string(),
            realised_pnl: closed.realised_pnl,
            reason: closed.reason.as_str(),
        })
    }

    fn close_reason(&self) -> Option<CloseReason> {
        match self {
            Self::PositionClosed { closed_by, .. } => Some(*closed_by),
            Self::Welcome { .. } | Self::RewardGranted { .. } => None,
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
            Self::PositionClosed { user, .. } => (*user, "position.closed"),
        };
        Ok(Notification {
            id,
            user_id: user.clone(),
            kind: kind.parse::<Kind>()?,
            topic: None,
            payload: Payload::new(self)?,
            created_at: now,
            // The TTL of the kind's rule.
            ttl: None,
            trace: None,
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
        // The TTL begins with the notification, not with the event, which may have waited in a queue.
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

    #[test]
    fn a_closed_position_has_its_reason_in_the_payload_and_the_policy_of_that_reason() {
        let order = doorstep_domain::Order {
            symbol: "BTC-USD".parse().unwrap(),
            side: doorstep_domain::Side::Long,
            quantity: "0.5".parse().unwrap(),
            stop_loss: None,
            take_profit: None,
        };
        let (id, price) = (doorstep_domain::PositionId::new(Uuid::nil()), "100".parse().unwrap());
        let open = Position::open(id, user(), order, price, Timestamp::default()).unwrap();
        let policies = PositionClosedPolicies::default();
        for reason in CloseReason::ALL {
            let closed =
                open.clone().closed_at("90".parse().unwrap(), reason, Timestamp::default());
            let position = Box::new(closed);
            let event = DomainEvent::PositionClosed { position, number: std::num::NonZeroU64::MIN };
            assert_eq!(News::of(&event).unwrap().close_reason(), Some(reason));
            let told = notified(&event);
            assert_eq!(told.kind.as_str(), "position.closed");
            let payload = told.payload.as_str();
            assert!(
                payload.ends_with(&format!(r#""reason":"{}"}}"#, reason.as_str())),
                "{payload}"
            );
            assert!(
                payload.contains(r#""exit_price":"90.00","realised_pnl":"-5.00""#),
                "{payload}"
            );
            let by_the_rule = policies.policy(reason).is_none();
            assert_eq!(by_the_rule, reason == CloseReason::User);
        }
    }
}
