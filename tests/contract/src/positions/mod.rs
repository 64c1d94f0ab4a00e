//! The suite of [`Positions`].

mod keys;
mod together;

use std::num::{NonZeroU64, NonZeroUsize};
use std::sync::Arc;
use std::time::Duration;

use doorstep_domain::ports::{
    Accounts, Close, Open, OpenError, Opening, Positions, Status, StoreError,
};
use doorstep_domain::{
    CloseReason, EarnedBy, EntryId, EntryKind, LedgerEntry, Money, Order, Position, PositionId,
    Price, Side, Timestamp, UserId,
};
use uuid::Uuid;

use crate::clause::clauses;
use crate::sample::{NOW, at_once, entry, registered, stranger};
use crate::{Clause, Reopens};

clauses! {
    /// The promises of [`Positions`] that the suite checks.
    WHOLE = "position whole": "a position is read back with everything that was stored, open and closed";
    RESERVED = "position reserved": "opening takes the cost from the balance, with an entry for it";
    SETTLED = "position settled": "closing adds the cost and the gain to the balance, with an entry for it, also one of zero";
    CLOSED_ONCE = "position closed once": "a position that is closed is not closed again, and nothing changes";
    NOT_ENOUGH = "position not enough": "a cost above the balance is NotEnough, and changes nothing";
    TOO_MANY = "position too many": "one more open position than `max_open` is TooMany, and changes nothing";
    NOBODY = "position of nobody": "a position of an unknown user is Corrupt, and not stored";
    OTHERS = "position others": "nobody closes or finds a position of another user";
    KEY_ONCE = "position key once": "of any number of concurrent openings with one key, one opens, and the others return that position";
    KEY_OWN = "position key own": "a key is its user's: another user can use the same one";
    KEY_CLOSED = "position key closed": "a key also finds a position that is closed by now";
    KEY_KEPT = "position key kept": "a key is kept for 24 hours, and is free from then on";
    KEY_REFUSED = "position key refused": "an opening that was refused does not use its key";
    ONE_CLOSES = "position one closer": "of any number of concurrent closes, one closes and is settled, as it says";
    TOGETHER = "position together": "several are closed as each would be alone, and the results come in the same order";
    ALL_OR_NONE = "position all or none": "if one of several cannot be closed, none is";
    NOT_NEGATIVE = "position never below zero": "concurrent openings never take more than the balance";
    EXACT = "position exact": "after concurrent openings and closes the balance is the sum of its entries";
    PAGES = "position pages": "pages go back from the newest of the user, of one status if it is given, without a gap; before an unknown position there is nothing";
    ALL_OPEN = "position all open": "`all_open` returns the open positions in the order of their ids, behind one, at most `limit`";
    NUMBERED = "position numbered": "a close returns how many the user has closed";
    OWED = "position reward owed": "`closed_without` returns those that earned a reward and have no entry for it, oldest first, at most `limit`";
    DURABLE = "position durable": "what was opened or closed is so after the store was closed and opened again";
}

const PLENTY: NonZeroUsize = NonZeroUsize::new(1000).unwrap();

/// [`Positions`]; `accounts` is the same store. Checks every promise of [`CLAUSES`] but the durability, for which see
/// [`durable_positions`].
pub async fn positions(accounts: Arc<dyn Accounts>, store: Arc<dyn Positions>) {
    let both = Both { accounts, store };
    both.stored_positions_are_read_back().await;
    both.opening_reserves_and_closing_settles().await;
    both.a_refused_opening_changes_nothing().await;
    both.another_users_position_stays().await;
    both.a_key_opens_one_position().await;
    both.a_key_is_kept_for_a_day().await;
    both.one_of_many_closers_closes().await;
    both.several_are_closed_together().await;
    both.one_that_cannot_be_closed_keeps_all_open().await;
    both.no_balance_falls_below_zero_however_many_open_at_once().await;
    both.opening_and_closing_at_once_keeps_the_balance_exact().await;
    both.pages_show_a_users_own().await;
    both.open_ones_are_taken_up().await;
    both.closes_are_numbered_and_what_they_earn_is_found().await;
}

/// What [`Positions`] promises to keep, in a store that can be closed and opened again.
pub async fn durable_positions<R: Reopens<Store: Accounts + Positions>>(place: &mut R) {
    let store = place.reopen().await;
    let both = Both { accounts: store.clone(), store };
    let user = both.somebody(5000, DURABLE).await;
    let [open, other] = [both.opened(&user, DURABLE).await, both.opened(&user, DURABLE).await];
    let closed = gained(&other);
    both.close(&closed, DURABLE).await;
    drop(both);
    let store = place.reopen().await;
    let both = Both { accounts: store.clone(), store };
    both.is(&open, DURABLE).await;
    both.is(&closed, DURABLE).await;
    both.has_exactly(&user, 4100, DURABLE).await;
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

/// How an opening ended, in a word: the position is not printed.
fn ended(result: &Result<Open, OpenError>) -> &'static str {
    match result {
        Ok(Open::Opened) => "Opened",
        Ok(Open::Before(_)) => "Before",
        Err(OpenError::NotEnough) => "NotEnough",
        Err(OpenError::TooMany) => "TooMany",
        Err(OpenError::Store(StoreError::Corrupt(_))) => "Corrupt",
        Err(OpenError::Store(StoreError::Unavailable(_))) => "Unavailable",
        Err(OpenError::Store(_)) => "another error of the store",
    }
}

impl Both {
    /// A user with this much money, in minor units.
    async fn somebody(&self, minor: i64, clause: Clause) -> UserId {
        let user = registered(&*self.accounts).await.id;
        let grant = self.accounts.grant(&entry(&user, minor, &user.to_string())).await;
        clause.done("grant", grant);
        user
    }

    async fn opened(&self, user: &UserId, clause: Clause) -> Position {
        let position = position(user);
        self.opens(&opening(&position), "Opened", clause).await;
        position
    }

    /// Fails unless the opening ends with this word.
    async fn opens(&self, opening: &Opening, expected: &str, clause: Clause) {
        let came = ended(&self.store.open(opening).await);
        clause.same(format_args!("the opening of {}", opening.position.id), &came, &expected);
    }

    async fn close(&self, closed: &Position, clause: Clause) -> Close {
        clause.done("close", self.store.close(closed, EntryId::new(Uuid::now_v7())).await)
    }

    async fn closes(&self, closed: &Position, expected: Close, clause: Clause) {
        let came = self.close(closed, clause).await;
        clause.same(format_args!("the close of {}", closed.id), &came, &expected);
    }

    /// Fails unless the user's position is this one.
    async fn is(&self, expected: &Position, clause: Clause) {
        let came = self.store.find(&expected.user_id, expected.id).await;
        clause.same_one("the position", clause.done("find", came).as_ref(), Some(expected));
    }

    async fn is_unknown(&self, position: &Position, clause: Clause) {
        let came = self.store.find(&position.user_id, position.id).await;
        let what = "a position that was not opened";
        clause.same_one(what, clause.done("find", came).as_ref(), None);
    }

    async fn entries(&self, user: &UserId, clause: Clause) -> Vec<LedgerEntry> {
        clause.done("entries", self.accounts.entries(user, None, 1000).await)
    }

    /// Fails unless the balance and the sum of the entries are this.
    async fn has_exactly(&self, user: &UserId, minor: i64, clause: Clause) {
        let entries = self.entries(user, clause).await;
        let sum: i64 = entries.iter().map(|entry| entry.amount.minor_units()).sum();
        clause.same("the sum of the entries", &sum, &minor);
        let balance = clause.done("balance", self.accounts.balance(user).await);
        clause.same("the balance", &balance.map(Money::minor_units), &Some(minor));
    }

    async fn stored_positions_are_read_back(&self) {
        let user = self.somebody(1_000_000_000_000, WHOLE).await;
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
        for like in [bare, full] {
            for reason in CloseReason::ALL {
                let position = Position { id: PositionId::new(Uuid::now_v7()), ..like.clone() };
                self.opens(&opening(&position), "Opened", WHOLE).await;
                self.is(&position, WHOLE).await;
                let at = Timestamp::from_micros(1_750_000_009_999_999);
                let closed = position.closed_at(price("0.000001"), reason, at);
                self.close(&closed, WHOLE).await;
                self.is(&closed, WHOLE).await;
            }
        }
    }

    async fn opening_reserves_and_closing_settles(&self) {
        let user = self.somebody(5000, RESERVED).await;
        let position = self.opened(&user, RESERVED).await;
        self.has_exactly(&user, 4000, RESERVED).await;
        self.newest_entry(EntryKind::PositionOpened, -1000, &position, RESERVED).await;
        let closed = gained(&position);
        self.closes(&closed, Close::Closed(NonZeroU64::MIN), SETTLED).await;
        self.has_exactly(&user, 5100, SETTLED).await;
        self.newest_entry(EntryKind::PositionClosed, 1100, &position, SETTLED).await;
        self.closes(&closed, Close::AlreadyClosed, CLOSED_ONCE).await;
        self.has_exactly(&user, 5100, CLOSED_ONCE).await;

        // A total loss is settled too, with an amount of zero.
        let position = self.opened(&user, SETTLED).await;
        let ruined = position.closed_at(price("0.000001"), CloseReason::Liquidated, NOW);
        self.close(&ruined, SETTLED).await;
        self.has_exactly(&user, 4100, SETTLED).await;
        self.newest_entry(EntryKind::PositionClosed, 0, &ruined, SETTLED).await;
    }

    async fn newest_entry(&self, kind: EntryKind, minor: i64, about: &Position, clause: Clause) {
        let newest = self.entries(&about.user_id, clause).await.into_iter().next();
        let came = newest.map(|entry| (entry.kind, entry.amount, entry.reference));
        let expected = (kind, Money::from_minor(minor), about.id.to_string());
        clause.same("the newest entry", &came, &Some(expected));
    }

    async fn a_refused_opening_changes_nothing(&self) {
        let user = self.somebody(1999, NOT_ENOUGH).await;
        self.opened(&user, NOT_ENOUGH).await;
        let second = opening(&position(&user));
        self.opens(&second, "NotEnough", NOT_ENOUGH).await;
        self.is_unknown(&second.position, NOT_ENOUGH).await;
        self.has_exactly(&user, 999, NOT_ENOUGH).await;

        let rich = self.somebody(10_000, TOO_MANY).await;
        let two = NonZeroUsize::new(2).expect("above zero");
        let of_two = || Opening { max_open: two, ..opening(&position(&rich)) };
        for _ in 0..2 {
            self.opens(&of_two(), "Opened", TOO_MANY).await;
        }
        let third = of_two();
        self.opens(&third, "TooMany", TOO_MANY).await;
        self.is_unknown(&third.position, TOO_MANY).await;
        self.has_exactly(&rich, 8000, TOO_MANY).await;

        let nobody = position(&stranger());
        self.opens(&opening(&nobody), "Corrupt", NOBODY).await;
        self.is_unknown(&nobody, NOBODY).await;
    }

    /// A position of another user, or one that does not exist, cannot be closed.
    async fn another_users_position_stays(&self) {
        let [user, rich] = [self.somebody(999, OTHERS).await, self.somebody(9000, OTHERS).await];
        let ada = self.opened(&rich, OTHERS).await;
        let stolen = Position { user_id: user.clone(), ..gained(&ada) };
        self.closes(&stolen, Close::AlreadyClosed, OTHERS).await;
        self.is(&ada, OTHERS).await;
        self.is_unknown(&stolen, OTHERS).await;
        self.closes(&gained(&position(&user)), Close::AlreadyClosed, OTHERS).await;
        self.has_exactly(&user, 999, OTHERS).await;
    }

    async fn one_of_many_closers_closes(&self) {
        let user = self.somebody(5000, ONE_CLOSES).await;
        let position = self.opened(&user, ONE_CLOSES).await;
        let reasons = CloseReason::ALL.iter().cycle().take(32);
        let closers = reasons.zip(1..).map(|(&reason, cents)| {
            let price = Price::from_micros((100 + cents) * Price::SCALE).expect("a price");
            let closed = position.clone().closed_at(price, reason, NOW);
            let store = Arc::clone(&self.store);
            async move { (store.close(&closed, EntryId::new(Uuid::now_v7())).await, closed) }
        });
        let mut winners = Vec::new();
        for (result, closed) in at_once(closers.collect::<Vec<_>>()).await {
            if let Close::Closed(_) = ONE_CLOSES.done("close", result) {
                winners.push(closed);
            }
        }
        ONE_CLOSES.same("how many of 32 at once closed it", &winners.len(), &1);
        let winner = winners.remove(0);
        self.is(&winner, ONE_CLOSES).await;
        let pnl = winner.closed.map_or(0, |closed| closed.realised_pnl.minor_units());
        self.has_exactly(&user, 5000 + pnl, ONE_CLOSES).await;
        let settled = self.entries(&user, ONE_CLOSES).await;
        let settled = settled.iter().filter(|entry| entry.kind == EntryKind::PositionClosed);
        ONE_CLOSES.same("how many settlements there are", &settled.count(), &1);
    }

    async fn no_balance_falls_below_zero_however_many_open_at_once(&self) {
        let user = self.somebody(10_500, NOT_NEGATIVE).await;
        let results = at_once((0..32).map(|_| {
            let (store, opening) = (Arc::clone(&self.store), opening(&position(&user)));
            async move { store.open(&opening).await }
        }))
        .await;
        let count = |word| results.iter().filter(|result| ended(result) == word).count();
        let came = (count("Opened"), count("NotEnough"));
        NOT_NEGATIVE.same("how many of 32 opened, and how many were NotEnough", &came, &(10, 22));
        self.has_exactly(&user, 500, NOT_NEGATIVE).await;
    }

    async fn opening_and_closing_at_once_keeps_the_balance_exact(&self) {
        let user = self.somebody(100_000, EXACT).await;
        let rounds = at_once((0..32).map(|_| {
            let (store, user) = (Arc::clone(&self.store), user.clone());
            async move {
                for _ in 0..3 {
                    let position = position(&user);
                    store.open(&opening(&position)).await?;
                    let entry = EntryId::new(Uuid::now_v7());
                    store.close(&gained(&position), entry).await?;
                }
                Ok::<_, OpenError>(())
            }
        }));
        for round in rounds.await {
            EXACT.done("open and close", round);
        }
        self.has_exactly(&user, 100_000 + 96 * 100, EXACT).await;
    }

    async fn pages_show_a_users_own(&self) {
        let [ada, ben] = [self.somebody(100_000, PAGES).await, self.somebody(100_000, PAGES).await];
        let mut all = Vec::new();
        for number in 0..7 {
            let mut position = self.opened(&ada, PAGES).await;
            if number % 3 == 0 {
                position = gained(&position);
                self.close(&position, PAGES).await;
            }
            self.opened(&ben, PAGES).await;
            all.insert(0, position);
        }
        for status in [None, Some(Status::Open), Some(Status::Closed)] {
            let expected: Vec<_> = all
                .iter()
                .filter(|p| status.is_none_or(|s| (s == Status::Closed) == p.closed.is_some()))
                .cloned()
                .collect();
            let (mut seen, mut before) = (Vec::new(), None);
            // One page more than are needed, so that a store that repeats itself comes to an end.
            for _ in 0..5 {
                let page = PAGES.done("page", self.store.page(&ada, status, before, 2).await);
                let Some(last) = page.last() else { break };
                let came = page.len();
                PAGES
                    .holds(came <= 2, format_args!("expected at most 2 in a page, and got {came}"));
                before = Some(last.id);
                seen.extend(page);
            }
            PAGES.same_all(format_args!("the pages of the status {status:?}"), &seen, &expected);
        }
        let others = PAGES.done("page", self.store.page(&ben, None, None, 1).await).remove(0);
        for before in [PositionId::new(Uuid::now_v7()), others.id] {
            let came = PAGES.done("page", self.store.page(&ada, None, Some(before), 9).await);
            PAGES.same_all("the page before a position that is not the user's", &came, &[]);
        }
        let came = OTHERS.done("find", self.store.find(&ada, others.id).await);
        OTHERS.same_one("another user's position", came.as_ref(), None);
    }

    async fn open_ones_are_taken_up(&self) {
        let user = self.somebody(100_000, ALL_OPEN).await;
        let mut open = Vec::new();
        for number in 0..5 {
            let position = self.opened(&user, ALL_OPEN).await;
            if number % 2 == 0 {
                open.push(position);
            } else {
                self.close(&gained(&position), ALL_OPEN).await;
            }
        }
        let (mut seen, mut after) = (Vec::new(), None);
        loop {
            let some = ALL_OPEN.done("all_open", self.store.all_open(after, 2).await);
            let Some(last) = some.last() else { break };
            let came = some.len();
            ALL_OPEN.holds(came <= 2, format_args!("expected at most 2 at a time, and got {came}"));
            let grows = after.is_none_or(|after| last.id > after);
            ALL_OPEN
                .holds(grows, format_args!("expected ids behind {after:?}, and got {}", last.id));
            after = Some(last.id);
            seen.extend(some.into_iter().filter(|position| position.user_id == user));
        }
        ALL_OPEN.same_all("the open positions of one user", &seen, &open);
    }

    async fn closes_are_numbered_and_what_they_earn_is_found(&self) {
        let user = self.somebody(100_000, NUMBERED).await;
        let mut closed = Vec::new();
        for number in 1..=6 {
            let position = self.opened(&user, NUMBERED).await;
            let expected = NonZeroU64::new(number).expect("above zero");
            self.closes(&gained(&position), Close::Closed(expected), NUMBERED).await;
            closed.push(position.id);
        }
        let three = EarnedBy::EveryClose(NonZeroU64::new(3).expect("above zero"));
        let cases = [
            (EntryKind::FirstClose, EarnedBy::FirstClose, vec![closed[0]]),
            (EntryKind::CloseMilestone, three, vec![closed[2], closed[5]]),
        ];
        for (kind, by, mut expected) in cases {
            let limited = self.store.closed_without(kind, by, 1).await;
            let limited = OWED.done("closed_without", limited).len();
            OWED.same("how many there are with a limit of 1", &limited, &1);
            while let Some(&id) = expected.first() {
                self.owes(kind, by, &user, &expected).await;
                let reward = LedgerEntry { kind, ..entry(&user, 1, &id.to_string()) };
                OWED.done("grant", self.accounts.grant(&reward).await);
                expected.remove(0);
            }
            self.owes(kind, by, &user, &[]).await;
        }
        let by = EarnedBy::Registering;
        let none = self.store.closed_without(EntryKind::WelcomeGift, by, 9).await;
        let none = OWED.done("closed_without", none).len();
        OWED.same("how many closes earn what a registration earns", &none, &0);
    }

    async fn owes(&self, kind: EntryKind, by: EarnedBy, user: &UserId, expected: &[PositionId]) {
        let owed = OWED.done("closed_without", self.store.closed_without(kind, by, 100_000).await);
        let owed: Vec<_> =
            owed.into_iter().filter(|(whose, _)| whose == user).map(|(_, id)| id).collect();
        OWED.same("the closes that earned it and lack it", &owed, &expected.to_vec());
    }
}
