use std::num::{NonZeroU64, NonZeroUsize};
use std::sync::Arc;
use std::time::Duration;

use doorstep_domain::ports::{
    Accounts, Close, IdempotencyKey, Open, OpenError, Opening, Positions, Status, StoreError,
};
use doorstep_domain::{
    CloseReason, EarnedBy, EntryId, EntryKind, LedgerEntry, Money, Order, Position, PositionId,
    Price, Side, Timestamp, UserId,
};
use uuid::Uuid;

use super::sample::{NOW, at_once, entry, registered, stranger};

const PLENTY: NonZeroUsize = NonZeroUsize::new(1000).unwrap();

/// [`Positions`]; `accounts` is the same store.
pub async fn positions(accounts: Arc<dyn Accounts>, store: Arc<dyn Positions>) {
    let both = Both { accounts, store };
    both.stored_positions_are_read_back().await;
    both.opening_reserves_and_closing_settles().await;
    both.a_refused_opening_changes_nothing().await;
    both.a_key_opens_one_position_a_day().await;
    both.one_of_many_closers_closes().await;
    both.no_balance_falls_below_zero_however_many_open_at_once().await;
    both.opening_and_closing_at_once_keeps_the_balance_exact().await;
    both.pages_show_a_users_own().await;
    both.open_ones_are_taken_up().await;
    both.closes_are_numbered_and_what_they_earn_is_found().await;
}

struct Both {
    accounts: Arc<dyn Accounts>,
    store: Arc<dyn Positions>,
}

fn price(text: &str) -> Price {
    text.parse().expect("a price")
}

/// A position that costs 10.00.
pub(super) fn position(user_id: &UserId) -> Position {
    let order = Order {
        symbol: "BTC-USD".parse().expect("a symbol"),
        side: Side::Long,
        quantity: "0.1".parse().expect("a quantity"),
        stop_loss: None,
        take_profit: None,
    };
    let id = PositionId::new(Uuid::now_v7());
    Position::open(id, user_id.clone(), order, price("100"), NOW).expect("a position")
}

pub(super) fn opening(position: &Position) -> Opening {
    let entry = EntryId::new(Uuid::now_v7());
    Opening { position: position.clone(), entry, key: None, max_open: PLENTY }
}

/// The same position, closed with a gain of 1.00.
pub(super) fn gained(position: &Position) -> Position {
    position.clone().closed_at(price("110"), CloseReason::User, NOW + Duration::from_secs(1))
}

impl Both {
    /// A user with this much money, in minor units.
    async fn somebody(&self, minor: i64) -> UserId {
        let user = registered(&*self.accounts).await.id;
        self.accounts.grant(&entry(&user, minor, &user.to_string())).await.expect("grants");
        user
    }

    async fn opened(&self, user: &UserId) -> Position {
        let position = position(user);
        let open = self.store.open(&opening(&position)).await.expect("opens");
        assert_eq!(open, Open::Opened);
        position
    }

    async fn close(&self, closed: &Position) -> Close {
        self.store.close(closed, EntryId::new(Uuid::now_v7())).await.expect("closes")
    }

    async fn find(&self, position: &Position) -> Option<Position> {
        self.store.find(&position.user_id, position.id).await.expect("finds")
    }

    async fn balance(&self, user: &UserId) -> i64 {
        let balance = self.accounts.balance(user).await.expect("a balance");
        balance.expect("a user").minor_units()
    }

    async fn entries(&self, user: &UserId) -> Vec<LedgerEntry> {
        self.accounts.entries(user, None, 1000).await.expect("entries")
    }

    /// The balance, which must be the sum of the entries.
    async fn exact_balance(&self, user: &UserId) -> i64 {
        let entries = self.entries(user).await;
        let sum: i64 = entries.iter().map(|entry| entry.amount.minor_units()).sum();
        assert_eq!(self.balance(user).await, sum, "the balance is the sum of its entries");
        sum
    }

    async fn stored_positions_are_read_back(&self) {
        let user = self.somebody(1_000_000_000_000).await;
        let bare = position(&user);
        let mut full = Position {
            order: Order {
                symbol: "X".parse().expect("a symbol"),
                side: Side::Short,
                quantity: "0.000001".parse().expect("a quantity"),
                stop_loss: Some(Price::MAX),
                take_profit: Some(Price::MIN),
            },
            fill_price: price("999999999.999999"),
            ..position(&user)
        };
        full.cost = Money::from_minor(100_000);
        for position in [bare, full] {
            self.store.open(&opening(&position)).await.expect("opens");
            assert_eq!(self.find(&position).await, Some(position.clone()));
            for reason in CloseReason::ALL {
                let at = Timestamp::from_micros(1_750_000_009_999_999);
                let closed = position.clone().closed_at(price("0.000001"), reason, at);
                match self.close(&closed).await {
                    Close::Closed(_) => assert_eq!(self.find(&position).await, Some(closed)),
                    Close::AlreadyClosed => assert_ne!(reason, CloseReason::User, "the first"),
                    Close::LeaseLost => panic!("it was not closed under a lease"),
                }
            }
        }
    }

    async fn opening_reserves_and_closing_settles(&self) {
        let user = self.somebody(5000).await;
        let position = self.opened(&user).await;
        assert_eq!(self.exact_balance(&user).await, 4000);
        let closed = gained(&position);
        assert_eq!(self.close(&closed).await, Close::Closed(NonZeroU64::MIN));
        assert_eq!(self.exact_balance(&user).await, 5100);
        assert_eq!(self.close(&closed).await, Close::AlreadyClosed);
        assert_eq!(self.exact_balance(&user).await, 5100);

        // A total loss is settled too, with an amount of zero.
        let position = self.opened(&user).await;
        let ruined = position.closed_at(price("0.000001"), CloseReason::Liquidated, NOW);
        self.close(&ruined).await;
        assert_eq!(self.exact_balance(&user).await, 4100);
        let newest = self.entries(&user).await.remove(0);
        let expected = (EntryKind::PositionClosed, Money::ZERO, ruined.id.to_string());
        assert_eq!((newest.kind, newest.amount, newest.reference), expected);
    }

    async fn a_refused_opening_changes_nothing(&self) {
        let user = self.somebody(1999).await;
        self.opened(&user).await;
        let error = self.store.open(&opening(&position(&user))).await;
        assert!(matches!(error, Err(OpenError::NotEnough)), "{error:?}");
        assert_eq!(self.exact_balance(&user).await, 999);

        let rich = self.somebody(10_000).await;
        let two = NonZeroUsize::new(2).expect("above zero");
        for _ in 0..2 {
            let opening = Opening { max_open: two, ..opening(&position(&rich)) };
            self.store.open(&opening).await.expect("opens");
        }
        let third = Opening { max_open: two, ..opening(&position(&rich)) };
        let error = self.store.open(&third).await;
        assert!(matches!(error, Err(OpenError::TooMany)), "{error:?}");
        assert_eq!(self.find(&third.position).await, None);
        assert_eq!(self.exact_balance(&rich).await, 8000);

        let nobody = position(&stranger());
        let error = self.store.open(&opening(&nobody)).await;
        assert!(matches!(error, Err(OpenError::Store(StoreError::Corrupt(_)))), "{error:?}");
        assert_eq!(self.find(&nobody).await, None);

        // A position of another user, or one that does not exist, cannot be closed.
        let ada = self.opened(&rich).await;
        let stolen = Position { user_id: user.clone(), ..gained(&ada) };
        assert_eq!(self.close(&stolen).await, Close::AlreadyClosed);
        assert_eq!(self.find(&ada).await, Some(ada));
        assert_eq!(self.close(&gained(&position(&user))).await, Close::AlreadyClosed);
        assert_eq!(self.exact_balance(&user).await, 999);
    }

    async fn a_key_opens_one_position_a_day(&self) {
        let [ada, ben] = [self.somebody(100_000).await, self.somebody(100_000).await];
        let key: IdempotencyKey = format!("order '{}'", Uuid::now_v7()).parse().expect("a key");
        let with_key = |position| Opening { key: Some(key.clone()), ..opening(&position) };

        // Many at once: one opens a position, all others get that position.
        let openings: Vec<_> = (0..16).map(|_| with_key(position(&ada))).collect();
        let store = &self.store;
        let answers = at_once(openings.into_iter().map(|opening| {
            let store = Arc::clone(store);
            async move { (opening.position.clone(), store.open(&opening).await.expect("opens")) }
        }))
        .await;
        let mut opened = answers.iter().filter(|(_, open)| *open == Open::Opened);
        let (first, _) = opened.next().expect("one opens");
        assert!(opened.next().is_none(), "two opened with one key");
        for (_, open) in &answers {
            if let Open::Before(before) = open {
                assert_eq!(**before, *first);
            }
        }
        assert_eq!(self.exact_balance(&ada).await, 99_000);
        assert_eq!(store.opened_with(&ada, &key, NOW).await.expect("looks"), Some(first.clone()));

        // The key also finds a closed position, and only for this user.
        let closed = gained(first);
        self.close(&closed).await;
        let again = store.open(&with_key(position(&ada))).await.expect("opens");
        assert_eq!(again, Open::Before(Box::new(closed)));
        assert_eq!(store.opened_with(&ben, &key, NOW).await.expect("looks"), None);
        assert_eq!(store.open(&with_key(position(&ben))).await.expect("opens"), Open::Opened);

        // After a day the key is free again.
        let just = NOW + IdempotencyKey::KEPT - Duration::from_micros(1);
        assert!(store.opened_with(&ada, &key, just).await.expect("looks").is_some());
        let tomorrow = NOW + IdempotencyKey::KEPT;
        assert_eq!(store.opened_with(&ada, &key, tomorrow).await.expect("looks"), None);
        let new = Position { opened_at: tomorrow, ..position(&ada) };
        assert_eq!(store.open(&with_key(new.clone())).await.expect("opens"), Open::Opened);
        assert_eq!(store.opened_with(&ada, &key, tomorrow).await.expect("looks"), Some(new));

        // An order that was refused does not use its key.
        let poor = self.somebody(0).await;
        assert!(store.open(&with_key(position(&poor))).await.is_err());
        assert_eq!(store.opened_with(&poor, &key, NOW).await.expect("looks"), None);
    }

    async fn one_of_many_closers_closes(&self) {
        let user = self.somebody(5000).await;
        let position = self.opened(&user).await;
        let reasons = CloseReason::ALL.iter().cycle().take(32);
        let closers = reasons.zip(1..).map(|(&reason, cents)| {
            let price = Price::from_micros((100 + cents) * Price::SCALE).expect("a price");
            let closed = position.clone().closed_at(price, reason, NOW);
            let store = Arc::clone(&self.store);
            async move {
                let entry = EntryId::new(Uuid::now_v7());
                (store.close(&closed, entry).await.expect("closes"), closed)
            }
        });
        let answers = at_once(closers.collect::<Vec<_>>()).await;
        let winners: Vec<_> =
            answers.iter().filter(|(close, _)| matches!(close, Close::Closed(_))).collect();
        let [(_, winner)] = winners[..] else { panic!("{} closed it", winners.len()) };
        assert_eq!(self.find(&position).await.as_ref(), Some(winner));
        let pnl = winner.closed.expect("closed").realised_pnl.minor_units();
        assert_eq!(self.exact_balance(&user).await, 5000 + pnl);
        let settled = self.entries(&user).await;
        let settled = settled.iter().filter(|entry| entry.kind == EntryKind::PositionClosed);
        assert_eq!(settled.count(), 1);
    }

    async fn no_balance_falls_below_zero_however_many_open_at_once(&self) {
        let user = self.somebody(10_500).await;
        let answers = at_once((0..32).map(|_| {
            let (store, opening) = (Arc::clone(&self.store), opening(&position(&user)));
            async move { store.open(&opening).await }
        }))
        .await;
        let opened = answers.iter().filter(|answer| answer.is_ok()).count();
        let refused = answers.iter().filter(|a| matches!(a, Err(OpenError::NotEnough))).count();
        assert_eq!((opened, refused), (10, 22));
        assert_eq!(self.exact_balance(&user).await, 500);
    }

    async fn opening_and_closing_at_once_keeps_the_balance_exact(&self) {
        let user = self.somebody(100_000).await;
        let rounds = at_once((0..32).map(|_| {
            let (store, user) = (Arc::clone(&self.store), user.clone());
            async move {
                for _ in 0..3 {
                    let position = position(&user);
                    store.open(&opening(&position)).await.expect("opens");
                    let entry = EntryId::new(Uuid::now_v7());
                    store.close(&gained(&position), entry).await.expect("closes");
                }
            }
        }));
        rounds.await;
        assert_eq!(self.exact_balance(&user).await, 100_000 + 96 * 100);
    }

    async fn pages_show_a_users_own(&self) {
        let [ada, ben] = [self.somebody(100_000).await, self.somebody(100_000).await];
        let mut all = Vec::new();
        for number in 0..7 {
            let mut position = self.opened(&ada).await;
            if number % 3 == 0 {
                position = gained(&position);
                self.close(&position).await;
            }
            self.opened(&ben).await;
            all.insert(0, position);
        }
        for status in [None, Some(Status::Open), Some(Status::Closed)] {
            let expected: Vec<_> = all
                .iter()
                .filter(|p| status.is_none_or(|s| (s == Status::Closed) == p.closed.is_some()))
                .cloned()
                .collect();
            let (mut seen, mut before) = (Vec::new(), None);
            loop {
                let page = self.store.page(&ada, status, before, 2).await.expect("a page");
                let Some(last) = page.last() else { break };
                assert!(page.len() <= 2);
                before = Some(last.id);
                seen.extend(page);
            }
            assert_eq!(seen, expected, "{status:?}");
        }
        let unknown = Some(PositionId::new(Uuid::now_v7()));
        assert_eq!(self.store.page(&ada, None, unknown, 9).await.expect("a page"), []);
        let others = self.store.page(&ben, None, None, 1).await.expect("a page").remove(0);
        let page = self.store.page(&ada, None, Some(others.id), 9).await;
        assert_eq!(page.expect("a page"), [], "another user's position is no place to begin");
        assert_eq!(self.store.find(&ada, others.id).await.expect("finds"), None);
    }

    async fn open_ones_are_taken_up(&self) {
        let user = self.somebody(100_000).await;
        let mut open = Vec::new();
        for number in 0..5 {
            let position = self.opened(&user).await;
            if number % 2 == 0 {
                open.push(position);
            } else {
                self.close(&gained(&position)).await;
            }
        }
        let (mut seen, mut after) = (Vec::new(), None);
        loop {
            let some = self.store.all_open(after, 2).await.expect("open ones");
            let Some(last) = some.last() else { break };
            after = Some(last.id);
            assert!(some.iter().all(|position| position.closed.is_none()));
            seen.extend(some.into_iter().filter(|position| position.user_id == user));
        }
        assert_eq!(seen, open);
    }

    async fn closes_are_numbered_and_what_they_earn_is_found(&self) {
        let user = self.somebody(100_000).await;
        let mut closed = Vec::new();
        for number in 1..=6 {
            let position = self.opened(&user).await;
            let expected = NonZeroU64::new(number).expect("above zero");
            assert_eq!(self.close(&gained(&position)).await, Close::Closed(expected));
            closed.push(position.id);
        }
        let three = EarnedBy::EveryClose(NonZeroU64::new(3).expect("above zero"));
        let cases = [
            (EntryKind::FirstClose, EarnedBy::FirstClose, vec![closed[0]]),
            (EntryKind::CloseMilestone, three, vec![closed[2], closed[5]]),
        ];
        for (kind, by, mut expected) in cases {
            while let Some(&id) = expected.first() {
                assert_eq!(self.owed(kind, by, &user).await, expected);
                let reward = LedgerEntry { kind, ..entry(&user, 1, &id.to_string()) };
                self.accounts.grant(&reward).await.expect("grants");
                expected.remove(0);
            }
            assert_eq!(self.owed(kind, by, &user).await, []);
        }
        let none =
            self.store.closed_without(EntryKind::WelcomeGift, EarnedBy::Registering, 9).await;
        assert_eq!(none.expect("looks"), []);
    }

    async fn owed(&self, kind: EntryKind, by: EarnedBy, user: &UserId) -> Vec<PositionId> {
        let owed = self.store.closed_without(kind, by, 100_000).await.expect("looks");
        owed.into_iter().filter(|(whose, _)| whose == user).map(|(_, id)| id).collect()
    }
}
