//! Rewards for what users do.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use doorstep_domain::ports::{
    Accounts, Clock, EventHandler, EventPublisher, Grant, HandlerError, Ids, StoreError,
};
use doorstep_domain::{DomainEvent, EntryId, EntryKind, LedgerEntry, Money, UserId};

/// Grants the welcome gift to whoever registers: once, whatever crashes when.
#[derive(Clone)]
pub struct Rewards {
    accounts: Arc<dyn Accounts>,
    events: Arc<dyn EventPublisher>,
    clock: Arc<dyn Clock>,
    ids: Arc<dyn Ids>,
    welcome_gift: Money,
}

impl Rewards {
    /// The welcome gift unless something else is configured: 1000.00.
    pub const WELCOME_GIFT: Money = Money::from_minor(100_000);
    /// So many users are reconciled at a time.
    const BATCH: usize = 500;
    /// Waits between tries when the store is away for a moment; after the last, reconciling has to do it.
    const RETRIES: [Duration; 3] =
        [Duration::from_millis(50), Duration::from_millis(250), Duration::from_secs(1)];

    /// Grants a gift of this size; without a gift above zero, nothing.
    pub fn new(
        accounts: Arc<dyn Accounts>,
        events: Arc<dyn EventPublisher>,
        clock: Arc<dyn Clock>,
        ids: Arc<dyn Ids>,
        welcome_gift: Money,
    ) -> Self {
        Self { accounts, events, clock, ids, welcome_gift }
    }

    /// Grants what is still owed, because a crash or a store that was away came between a registration and
    /// its gift; says how many gifts that were. To be called at start, and harmless at any other time.
    pub async fn reconcile(&self) -> Result<u64, StoreError> {
        if self.welcome_gift <= Money::ZERO {
            return Ok(0);
        }
        let (mut granted, mut before) = (0, Vec::new());
        loop {
            let owed = self.accounts.users_without(EntryKind::WelcomeGift, Self::BATCH).await?;
            if owed.is_empty() {
                return Ok(granted);
            }
            if owed == before {
                // Every one of these has just been granted: a store that does not see it never will.
                return Err(StoreError::Corrupt(format!(
                    "user {} lacks a gift that is on the ledger",
                    owed[0]
                )));
            }
            for user in &owed {
                granted += u64::from(self.grant_welcome_gift(user).await? == Grant::Granted);
            }
            before = owed;
        }
    }

    async fn grant_welcome_gift(&self, user: &UserId) -> Result<Grant, StoreError> {
        let entry = LedgerEntry {
            id: EntryId::new(self.ids.next()),
            user_id: user.clone(),
            kind: EntryKind::WelcomeGift,
            amount: self.welcome_gift,
            // The fact that earns it: that this user registered, which happens once.
            reference: user.to_string(),
            created_at: self.clock.now(),
        };
        let grant = self.on_the_ledger(&entry).await?;
        if grant == Grant::Granted {
            let event = DomainEvent::RewardGranted {
                user_id: entry.user_id,
                reward: entry.kind,
                amount: entry.amount,
                reference: entry.reference,
                at: entry.created_at,
            };
            if let Err(error) = self.events.publish(event).await {
                // The money is where it belongs; what is lost with the bus is the popup.
                tracing::warn!(%user, %error, "a reward was not announced");
            }
        }
        Ok(grant)
    }

    /// Trying again is safe, as the ledger takes an entry for a fact once. A first try that did take effect
    /// although it failed is then `AlreadyGranted`: the user keeps the money and misses the popup.
    async fn on_the_ledger(&self, entry: &LedgerEntry) -> Result<Grant, StoreError> {
        for wait in Self::RETRIES {
            match self.accounts.grant(entry).await {
                Err(StoreError::Unavailable(error)) => {
                    tracing::warn!(user = %entry.user_id, %error, "a reward has to be tried again");
                    tokio::time::sleep(wait).await;
                }
                done => return done,
            }
        }
        self.accounts.grant(entry).await
    }
}

#[async_trait]
impl EventHandler for Rewards {
    fn name(&self) -> &'static str {
        "rewards"
    }

    fn wants(&self, event: &DomainEvent) -> bool {
        matches!(event, DomainEvent::UserRegistered { .. }) && self.welcome_gift > Money::ZERO
    }

    async fn handle(&self, event: &DomainEvent) -> Result<(), HandlerError> {
        if let DomainEvent::UserRegistered { user } = event {
            self.grant_welcome_gift(&user.id).await?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use doorstep_domain::ports::{MockAccounts, MockClock, MockEventPublisher, MockIds};
    use doorstep_domain::{Timestamp, User};
    use uuid::Uuid;

    use super::*;

    fn user(number: u128) -> UserId {
        UserId::from(Uuid::from_u128(number))
    }

    fn registered(number: u128) -> DomainEvent {
        DomainEvent::UserRegistered {
            user: User {
                id: user(number),
                username: "ada".parse().unwrap(),
                created_at: Timestamp::default(),
            },
        }
    }

    /// The handler, and the users for whom a reward was announced.
    fn rewards(accounts: MockAccounts, gift: Money) -> (Rewards, Arc<Mutex<Vec<UserId>>>) {
        let announced = Arc::new(Mutex::new(Vec::new()));
        let mut events = MockEventPublisher::new();
        let log = Arc::clone(&announced);
        events.expect_publish().returning(move |event| {
            let DomainEvent::RewardGranted { user_id, amount, reference, .. } = event else {
                panic!("unexpected {event:?}");
            };
            assert_eq!((amount, reference), (Rewards::WELCOME_GIFT, user_id.to_string()));
            log.lock().unwrap().push(user_id);
            Ok(())
        });
        let mut clock = MockClock::new();
        clock.expect_now().return_const(Timestamp::from_micros(9));
        let mut ids = MockIds::new();
        ids.expect_next().returning(|| Uuid::from_u128(99));
        let rewards = Rewards::new(
            Arc::new(accounts),
            Arc::new(events),
            Arc::new(clock),
            Arc::new(ids),
            gift,
        );
        (rewards, announced)
    }

    fn away() -> StoreError {
        StoreError::Unavailable("away".into())
    }

    #[tokio::test]
    async fn a_new_gift_is_announced_and_an_old_one_is_not() {
        for (grant, expected) in [(Grant::Granted, vec![user(1)]), (Grant::AlreadyGranted, vec![])]
        {
            let mut accounts = MockAccounts::new();
            accounts.expect_grant().once().returning(move |_| Ok(grant));
            let (rewards, announced) = rewards(accounts, Rewards::WELCOME_GIFT);
            assert!(rewards.wants(&registered(1)));
            rewards.handle(&registered(1)).await.unwrap();
            assert_eq!(*announced.lock().unwrap(), expected);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_store_that_is_away_for_a_moment_is_asked_again() {
        let mut accounts = MockAccounts::new();
        accounts.expect_grant().times(2).returning(|_| Err(away()));
        accounts.expect_grant().once().returning(|_| Ok(Grant::Granted));
        let (rewards, announced) = rewards(accounts, Rewards::WELCOME_GIFT);
        rewards.handle(&registered(1)).await.unwrap();
        assert_eq!(announced.lock().unwrap().len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_store_that_stays_away_is_an_error_and_nothing_is_announced() {
        let mut accounts = MockAccounts::new();
        accounts.expect_grant().times(4).returning(|_| Err(away()));
        let (rewards, announced) = rewards(accounts, Rewards::WELCOME_GIFT);
        assert!(rewards.handle(&registered(1)).await.is_err());
        assert!(announced.lock().unwrap().is_empty());
    }

    #[tokio::test]
    async fn reconciling_grants_what_is_owed_batch_by_batch() {
        let owed = Arc::new(Mutex::new((1..=1200).map(user).collect::<Vec<_>>()));
        let mut accounts = MockAccounts::new();
        let left = Arc::clone(&owed);
        accounts.expect_users_without().returning(move |_, limit| {
            Ok(left.lock().unwrap().iter().take(limit).cloned().collect())
        });
        let left = Arc::clone(&owed);
        accounts.expect_grant().returning(move |entry| {
            left.lock().unwrap().retain(|user| *user != entry.user_id);
            Ok(Grant::Granted)
        });
        let (rewards, announced) = rewards(accounts, Rewards::WELCOME_GIFT);
        assert_eq!(rewards.reconcile().await.unwrap(), 1200);
        assert_eq!(announced.lock().unwrap().len(), 1200);
        assert_eq!(rewards.reconcile().await.unwrap(), 0);
    }

    #[tokio::test]
    async fn a_store_that_contradicts_itself_does_not_hold_up_the_start_forever() {
        let mut accounts = MockAccounts::new();
        accounts.expect_users_without().returning(|_, _| Ok(vec![user(1)]));
        accounts.expect_grant().returning(|_| Ok(Grant::AlreadyGranted));
        let (rewards, _) = rewards(accounts, Rewards::WELCOME_GIFT);
        assert!(matches!(rewards.reconcile().await, Err(StoreError::Corrupt(_))));
    }

    #[tokio::test]
    async fn no_gift_configured_is_no_gift() {
        let (rewards, _) = rewards(MockAccounts::new(), Money::ZERO);
        assert!(!rewards.wants(&registered(1)));
        assert_eq!(rewards.reconcile().await.unwrap(), 0);
    }
}
