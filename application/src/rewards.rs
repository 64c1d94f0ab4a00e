//! Grants rewards for what users do.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use doorstep_domain::ports::{
    Accounts, Clock, EventHandler, EventPublisher, Grant, HandlerError, Ids, Positions, StoreError,
};
use doorstep_domain::{
    DomainEvent, EarnedBy, EntryId, LedgerEntry, RewardRule, RewardRules, UserId,
};

/// Grants the rewards of the rules. **Each fact earns its reward once, across crashes.**
#[derive(Clone)]
pub struct Rewards {
    accounts: Arc<dyn Accounts>,
    positions: Arc<dyn Positions>,
    events: Arc<dyn EventPublisher>,
    clock: Arc<dyn Clock>,
    ids: Arc<dyn Ids>,
    rules: RewardRules,
}

opaque!(Rewards);

/// The parts of [`Rewards`].
#[derive(Clone)]
pub struct RewardParts {
    /// The ledger, and the users.
    pub accounts: Arc<dyn Accounts>,
    /// The positions that earn rewards.
    pub positions: Arc<dyn Positions>,
    /// Takes the events.
    pub events: Arc<dyn EventPublisher>,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// Makes the ids of ledger entries.
    pub ids: Arc<dyn Ids>,
    /// Which fact earns which reward.
    pub rules: RewardRules,
}

opaque!(RewardParts);

impl Rewards {
    /// How many facts are reconciled at a time.
    const BATCH: usize = 500;
    /// The pauses between retries while the store is unavailable. After the last, only reconciling grants it.
    const RETRIES: [Duration; 3] =
        [Duration::from_millis(50), Duration::from_millis(250), Duration::from_secs(1)];

    /// Builds it from its parts.
    pub fn new(parts: RewardParts) -> Self {
        let RewardParts { accounts, positions, events, clock, ids, rules } = parts;
        Self { accounts, positions, events, clock, ids, rules }
    }

    /// Grants the rewards that are still owed, because of a crash or an unavailable store between a fact and its
    /// reward, or because a rule is new. Returns how many. Call it at start; it is harmless at any other time.
    pub async fn reconcile(&self) -> Result<u64, StoreError> {
        let mut granted = 0;
        for rule in self.rules.iter() {
            granted += self.reconcile_rule(rule).await?;
        }
        Ok(granted)
    }

    async fn reconcile_rule(&self, rule: &RewardRule) -> Result<u64, StoreError> {
        let (mut granted, mut before) = (0, Vec::new());
        loop {
            let owed = self.owed(rule).await?;
            let Some((user, reference)) = owed.first() else { return Ok(granted) };
            if owed == before {
                // All of these have just been granted. If the store does not see that now, it never will.
                return Err(StoreError::Corrupt(format!(
                    "user {user} lacks a {} for {reference} that is on the ledger",
                    rule.reward.as_str()
                )));
            }
            let entries = owed
                .iter()
                .map(|(user, reference)| self.entry(rule, user.clone(), reference.clone()));
            for grant in self.grant_together(entries.collect()).await {
                granted += u64::from(grant? == Grant::Granted);
            }
            before = owed;
        }
    }

    /// Returns some users who earned the reward and do not have it, each with the fact.
    async fn owed(&self, rule: &RewardRule) -> Result<Vec<(UserId, String)>, StoreError> {
        let reward = rule.reward;
        match rule.earned_by {
            EarnedBy::Registering => {
                let users = self.accounts.users_without(reward, Self::BATCH).await?;
                Ok(users.into_iter().map(for_registering).collect())
            }
            by @ (EarnedBy::FirstClose | EarnedBy::EveryClose(_)) => {
                let closed = self.positions.closed_without(reward, by, Self::BATCH).await?;
                Ok(closed.into_iter().map(|(user, id)| (user, id.to_string())).collect())
            }
        }
    }

    /// A reward. The reference is the fact that earns it.
    fn entry(&self, rule: &RewardRule, user_id: UserId, reference: String) -> LedgerEntry {
        LedgerEntry {
            id: EntryId::new(self.ids.next()),
            user_id,
            kind: rule.reward,
            amount: rule.amount,
            reference,
            created_at: self.clock.wall(),
        }
    }

    /// Grants these in one transaction. If that fails, each by itself: one that cannot be granted is no reason to
    /// withhold the others.
    async fn grant_together(&self, entries: Vec<LedgerEntry>) -> Vec<Result<Grant, StoreError>> {
        let mut results = Vec::with_capacity(entries.len());
        let together =
            if entries.len() > 1 { self.accounts.grant_all(&entries).await.ok() } else { None };
        let mut grants = together.into_iter().flatten();
        for entry in entries {
            let grant = match grants.next() {
                Some(grant) => Ok(grant),
                None => self.on_the_ledger(&entry).await,
            };
            if let Ok(Grant::Granted) = grant {
                self.announce(entry).await;
            }
            results.push(grant);
        }
        results
    }

    async fn announce(&self, entry: LedgerEntry) {
        let user = entry.user_id.clone();
        let event = DomainEvent::RewardGranted {
            user_id: entry.user_id,
            reward: entry.kind,
            amount: entry.amount,
            reference: entry.reference,
            at: entry.created_at,
        };
        if let Err(error) = self.events.publish(event).await {
            // The money is granted; only the popup is lost.
            tracing::warn!(%user, %error, "could not publish the event of a reward");
        }
    }

    /// Writes the entry, with retries. They are safe because the ledger takes one entry per fact. If a failed
    /// try took effect, the next one returns `AlreadyGranted`: the user keeps the money and misses the popup.
    async fn on_the_ledger(&self, entry: &LedgerEntry) -> Result<Grant, StoreError> {
        for wait in Self::RETRIES {
            match self.accounts.grant(entry).await {
                Err(StoreError::Unavailable(error)) => {
                    tracing::warn!(user = %entry.user_id, %error, "could not grant a reward; trying again");
                    tokio::time::sleep(wait).await;
                }
                done => return done,
            }
        }
        self.accounts.grant(entry).await
    }
}

impl Rewards {
    /// What this event earns.
    fn entries(&self, event: &DomainEvent) -> Vec<LedgerEntry> {
        let earned = |rule| earned(rule, event).map(|(user, fact)| self.entry(rule, user, fact));
        self.rules.iter().filter_map(earned).collect()
    }
}

#[async_trait]
impl EventHandler for Rewards {
    fn name(&self) -> &'static str {
        "rewards"
    }

    fn wants(&self, event: &DomainEvent) -> bool {
        self.rules.iter().any(|rule| earned(rule, event).is_some())
    }

    async fn handle(&self, event: &DomainEvent) -> Result<(), HandlerError> {
        let results = self.grant_together(self.entries(event)).await;
        Ok(results.into_iter().map(|granted| granted.map(drop)).fold(Ok(()), Result::and)?)
    }

    fn at_a_time(&self) -> NonZeroUsize {
        AT_A_TIME
    }

    /// In one transaction: one at a time, rewards of a busy market would be granted more slowly than they are earned.
    async fn handle_together(&self, events: &[Arc<DomainEvent>]) -> Vec<Result<(), HandlerError>> {
        let of_each: Vec<_> = events.iter().map(|event| self.entries(event)).collect();
        let counts: Vec<_> = of_each.iter().map(Vec::len).collect();
        let all = of_each.into_iter().flatten().collect();
        let mut granted = self.grant_together(all).await.into_iter();
        let of_event = |count| {
            let results = granted.by_ref().take(count).map(|granted| granted.map(drop));
            Ok(results.fold(Ok(()), Result::and)?)
        };
        counts.into_iter().map(of_event).collect()
    }
}

/// How many events are handled together. Each earns at most three rewards.
const AT_A_TIME: NonZeroUsize = NonZeroUsize::new(256).unwrap();

/// Returns the user who earned the rule's reward by this event, and the fact.
fn earned(rule: &RewardRule, event: &DomainEvent) -> Option<(UserId, String)> {
    match (rule.earned_by, event) {
        (EarnedBy::Registering, DomainEvent::UserRegistered { user }) => {
            Some(for_registering(user.id.clone()))
        }
        (by, DomainEvent::PositionClosed { position, number })
            if by.is_earned_by_close(*number) =>
        {
            Some((position.user_id.clone(), position.id.to_string()))
        }
        _ => None,
    }
}

/// The fact that this user registered, which happens once.
fn for_registering(user: UserId) -> (UserId, String) {
    let reference = user.to_string();
    (user, reference)
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU64;
    use std::sync::Mutex;

    use doorstep_domain::ports::{
        MockAccounts, MockClock, MockEventPublisher, MockIds, MockPositions,
    };
    use doorstep_domain::{
        CloseReason, EntryKind, Money, Order, Position, PositionId, Side, Timestamp, User,
    };
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

    const GIFT: Money = Money::from_minor(100_000);

    /// A gift for registering, 1.00 for the first closed position and 5.00 for every third.
    fn rules() -> RewardRules {
        let three = NonZeroU64::new(3).unwrap();
        RewardRules::new(GIFT, Money::from_minor(100), Money::from_minor(500), three)
    }

    fn only_a_gift() -> RewardRules {
        RewardRules::new(GIFT, Money::ZERO, Money::ZERO, NonZeroU64::MIN)
    }

    fn closed(number: u64) -> DomainEvent {
        let order = Order {
            symbol: "X".parse().unwrap(),
            side: Side::Long,
            quantity: "1".parse().unwrap(),
            stop_loss: None,
            take_profit: None,
        };
        let (id, at) = (PositionId::new(Uuid::from_u128(7)), Timestamp::default());
        let price = "1".parse().unwrap();
        let position = Position::open(id, user(1), order, price, at).unwrap();
        let position = Box::new(position.closed_at(price, CloseReason::User, at));
        DomainEvent::PositionClosed { position, number: NonZeroU64::new(number).unwrap() }
    }

    /// The handler, and the users for whom a reward was announced.
    fn rewards(accounts: MockAccounts, rules: RewardRules) -> (Rewards, Arc<Mutex<Vec<UserId>>>) {
        let announced = Arc::new(Mutex::new(Vec::new()));
        let mut events = MockEventPublisher::new();
        let log = Arc::clone(&announced);
        events.expect_publish().returning(move |event| {
            let DomainEvent::RewardGranted { user_id, reward, amount, reference, .. } = event
            else {
                panic!("unexpected {event:?}");
            };
            if reward == EntryKind::WelcomeGift {
                assert_eq!((amount, reference), (GIFT, user_id.to_string()));
            }
            log.lock().unwrap().push(user_id);
            Ok(())
        });
        let mut clock = MockClock::new();
        clock.expect_now().return_const(Timestamp::from_micros(9));
        let mut ids = MockIds::new();
        ids.expect_next().returning(|| Uuid::from_u128(99));
        let rewards = Rewards::new(RewardParts {
            accounts: Arc::new(accounts),
            positions: Arc::new(MockPositions::new()),
            events: Arc::new(events),
            clock: Arc::new(clock),
            ids: Arc::new(ids),
            rules,
        });
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
            let (rewards, announced) = rewards(accounts, only_a_gift());
            assert!(rewards.wants(&registered(1)));
            rewards.handle(&registered(1)).await.unwrap();
            assert_eq!(*announced.lock().unwrap(), expected);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_grant_is_retried_while_the_store_is_unavailable() {
        let mut accounts = MockAccounts::new();
        accounts.expect_grant().times(2).returning(|_| Err(away()));
        accounts.expect_grant().once().returning(|_| Ok(Grant::Granted));
        let (rewards, announced) = rewards(accounts, only_a_gift());
        rewards.handle(&registered(1)).await.unwrap();
        assert_eq!(announced.lock().unwrap().len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_store_that_stays_unavailable_is_an_error_and_nothing_is_announced() {
        let mut accounts = MockAccounts::new();
        accounts.expect_grant().times(4).returning(|_| Err(away()));
        let (rewards, announced) = rewards(accounts, only_a_gift());
        assert!(rewards.handle(&registered(1)).await.is_err());
        assert!(announced.lock().unwrap().is_empty());
    }

    #[tokio::test]
    async fn what_has_gathered_is_granted_together() {
        let mut accounts = MockAccounts::new();
        accounts.expect_grant_all().once().returning(|entries| {
            // The third close is the second reward of the first user.
            let users: Vec<_> = entries.iter().map(|entry| entry.user_id.clone()).collect();
            assert_eq!(users, [user(1), user(1), user(2)]);
            Ok(vec![Grant::AlreadyGranted, Grant::Granted, Grant::Granted])
        });
        let (rewards, announced) = rewards(accounts, rules());
        let events = [registered(1), closed(2), closed(3), registered(2)].map(Arc::new);
        let results = rewards.handle_together(&events).await;
        assert!(results.len() == 4 && results.iter().all(Result::is_ok), "{results:?}");
        assert_eq!(*announced.lock().unwrap(), [user(1), user(2)]);
    }

    #[tokio::test]
    async fn one_that_cannot_be_granted_withholds_no_other() {
        let mut accounts = MockAccounts::new();
        let corrupt = || StoreError::Corrupt("no such user".into());
        accounts.expect_grant_all().once().returning(move |_| Err(corrupt()));
        accounts.expect_grant().times(3).returning(move |entry| {
            if entry.user_id == user(2) { Err(corrupt()) } else { Ok(Grant::Granted) }
        });
        let (rewards, announced) = rewards(accounts, only_a_gift());
        let events = [1, 2, 3].map(|number| Arc::new(registered(number)));
        let results = rewards.handle_together(&events).await;
        assert_eq!(results.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, false, true]);
        assert_eq!(*announced.lock().unwrap(), [user(1), user(3)]);
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
        accounts.expect_grant_all().times(3).returning(move |entries| {
            left.lock().unwrap().retain(|user| entries.iter().all(|one| one.user_id != *user));
            Ok(vec![Grant::Granted; entries.len()])
        });
        let (rewards, announced) = rewards(accounts, only_a_gift());
        assert_eq!(rewards.reconcile().await.unwrap(), 1200);
        assert_eq!(announced.lock().unwrap().len(), 1200);
        assert_eq!(rewards.reconcile().await.unwrap(), 0);
    }

    #[tokio::test]
    async fn a_store_that_contradicts_itself_does_not_hold_up_the_start_forever() {
        let mut accounts = MockAccounts::new();
        accounts.expect_users_without().returning(|_, _| Ok(vec![user(1)]));
        accounts.expect_grant().returning(|_| Ok(Grant::AlreadyGranted));
        let (rewards, _) = rewards(accounts, only_a_gift());
        assert!(matches!(rewards.reconcile().await, Err(StoreError::Corrupt(_))));
    }

    #[tokio::test]
    async fn without_a_rule_nothing_is_granted() {
        let (rewards, _) = rewards(MockAccounts::new(), RewardRules::none());
        assert!(!rewards.wants(&registered(1)));
        assert_eq!(rewards.reconcile().await.unwrap(), 0);
    }

    #[tokio::test]
    async fn closing_earns_by_its_number_with_the_position_as_the_reason() {
        let (first, third) = (EntryKind::FirstClose, EntryKind::CloseMilestone);
        for (number, expected) in [(1, vec![(first, 100)]), (2, vec![]), (3, vec![(third, 500)])] {
            let granted = Arc::new(Mutex::new(Vec::new()));
            let mut accounts = MockAccounts::new();
            let log = Arc::clone(&granted);
            accounts.expect_grant().returning(move |entry| {
                assert_eq!(entry.reference, Uuid::from_u128(7).to_string());
                log.lock().unwrap().push((entry.kind, entry.amount.minor_units()));
                Ok(Grant::Granted)
            });
            let (rewards, announced) = rewards(accounts, rules());
            assert_eq!(rewards.wants(&closed(number)), !expected.is_empty());
            rewards.handle(&closed(number)).await.unwrap();
            assert_eq!(announced.lock().unwrap().len(), expected.len());
            assert_eq!(*granted.lock().unwrap(), expected);
        }
    }
}
