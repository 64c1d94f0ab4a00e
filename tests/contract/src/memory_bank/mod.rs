//! Users, sessions, money, positions and leases in memory: for tests, and as the simplest store that keeps the promises.

mod audit;
mod leases;

use std::collections::HashMap;
use std::num::NonZeroU64;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use doorstep_domain::ports::{
    Accounts, Close, Closing, Grant, HeldLease, IdempotencyKey, Open, OpenError, Opening,
    Positions, RegisterError, Sessions, Status, StoreError,
};
use doorstep_domain::{
    EarnedBy, EntryId, EntryKind, LedgerEntry, Money, NewUser, Position, PositionId, Session,
    Timestamp, TokenHash, User, UserId, Username,
};

use self::leases::Leases;

/// Loses everything when it is dropped.
#[derive(Default)]
pub struct MemoryBank {
    tables: Mutex<Tables>,
}

#[derive(Default, Clone)]
struct Tables {
    /// Oldest first, each with the balance.
    users: Vec<(NewUser, Money)>,
    sessions: HashMap<TokenHash, Session>,
    /// Oldest first.
    ledger: Vec<LedgerEntry>,
    /// Oldest first.
    positions: Vec<PositionRow>,
    leases: Leases,
}

#[derive(Clone)]
struct PositionRow {
    position: Position,
    key: Option<IdempotencyKey>,
    /// Which of its user's closes it was.
    close_number: Option<NonZeroU64>,
}

fn corrupt(what: &str) -> StoreError {
    StoreError::Corrupt(what.to_owned())
}

impl Tables {
    fn user(&self, id: &UserId) -> Option<&NewUser> {
        self.users.iter().map(|(user, _)| user).find(|user| user.user.id == *id)
    }

    fn balance(&self, id: &UserId) -> Option<Money> {
        self.users.iter().find(|(user, _)| user.user.id == *id).map(|(_, balance)| *balance)
    }

    fn has_entry(&self, user: &UserId, kind: EntryKind, reference: &str) -> bool {
        let same = |entry: &&LedgerEntry| {
            entry.user_id == *user && entry.kind == kind && entry.reference == reference
        };
        self.ledger.iter().rev().any(|entry| same(&entry))
    }

    fn grant(&mut self, entry: &LedgerEntry) -> Result<Grant, StoreError> {
        let granted = self.has_entry(&entry.user_id, entry.kind, &entry.reference);
        let user = self.users.iter_mut().find(|(user, _)| user.user.id == entry.user_id);
        let (_, balance) = user.ok_or_else(|| corrupt("an entry for nobody"))?;
        if granted {
            return Ok(Grant::AlreadyGranted);
        }
        let new = balance.checked_add(entry.amount).filter(|new| !new.is_negative());
        *balance = new.ok_or_else(|| corrupt("a balance out of its bounds"))?;
        self.ledger.push(entry.clone());
        Ok(Grant::Granted)
    }

    fn keyed(&self, user: &UserId, key: &IdempotencyKey, now: Timestamp) -> Option<&Position> {
        let mut theirs = self.positions.iter().filter(|row| row.position.user_id == *user);
        let row = theirs.find(|row| {
            row.key.as_ref() == Some(key) && row.position.opened_at > now - IdempotencyKey::KEPT
        })?;
        Some(&row.position)
    }

    fn open(&mut self, opening: &Opening) -> Result<Open, OpenError> {
        let Opening { position, entry, key, max_open } = opening;
        let user = &position.user_id;
        let balance = self.balance(user).ok_or_else(|| corrupt("a position of nobody"))?;
        if let Some(key) = key
            && let Some(before) = self.keyed(user, key, position.opened_at)
        {
            return Ok(Open::Before(Box::new(before.clone())));
        }
        if balance < position.cost {
            return Err(OpenError::NotEnough);
        }
        let open =
            |row: &&PositionRow| row.position.user_id == *user && row.position.closed.is_none();
        if self.positions.iter().filter(open).count() >= max_open.get() {
            return Err(OpenError::TooMany);
        }
        self.grant(&position.reservation(*entry))?;
        let (position, key) = (position.clone(), key.clone());
        self.positions.push(PositionRow { position, key, close_number: None });
        Ok(Open::Opened)
    }

    fn close(&mut self, closed: &Position, entry: EntryId) -> Result<Close, StoreError> {
        let settlement = closed.settlement(entry).ok_or_else(|| corrupt("closed, and open"))?;
        let theirs = |row: &PositionRow| row.position.user_id == closed.user_id;
        let before = self.positions.iter().filter(|row| theirs(row) && row.close_number.is_some());
        let number = NonZeroU64::MIN.saturating_add(before.count() as u64);
        let row = self.positions.iter_mut().find(|row| {
            theirs(row) && row.position.id == closed.id && row.position.closed.is_none()
        });
        let Some(row) = row else { return Ok(Close::AlreadyClosed) };
        row.position.closed = closed.closed;
        row.close_number = Some(number);
        self.grant(&settlement)?;
        Ok(Close::Closed(number))
    }

    /// Closed positions that earned a reward, oldest first.
    fn earned(&self, by: EarnedBy) -> impl Iterator<Item = &Position> {
        let earned = move |row: &&PositionRow| {
            row.close_number.is_some_and(|number| by.is_earned_by_close(number))
        };
        self.positions.iter().filter(earned).map(|row| &row.position)
    }
}

impl MemoryBank {
    fn tables(&self) -> MutexGuard<'_, Tables> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Another bank with the same content, for adapters that are wrong on purpose.
    pub(crate) fn copy(&self) -> Self {
        Self { tables: Mutex::new(self.tables().clone()) }
    }

    /// Takes over the content of another bank.
    pub(crate) fn replace_with(&self, other: &Self) {
        let content = other.tables().clone();
        *self.tables() = content;
    }

    /// Sets a balance, whatever the ledger says.
    pub(crate) fn set_balance(&self, user: &UserId, to: Money) {
        for (other, balance) in &mut self.tables().users {
            if other.user.id == *user {
                *balance = to;
            }
        }
    }
}

#[async_trait]
impl Accounts for MemoryBank {
    async fn register(&self, user: &NewUser, session: &Session) -> Result<(), RegisterError> {
        let mut tables = self.tables();
        let key = user.user.username.key();
        if tables.users.iter().any(|(other, _)| other.user.username.key() == key) {
            return Err(RegisterError::UsernameTaken);
        }
        if tables.user(&user.user.id).is_some() || tables.sessions.contains_key(&session.token) {
            return Err(corrupt("an id or a token that exists").into());
        }
        tables.users.push((user.clone(), Money::ZERO));
        tables.sessions.insert(session.token, session.clone());
        Ok(())
    }

    async fn user(&self, id: &UserId) -> Result<Option<User>, StoreError> {
        Ok(self.tables().user(id).map(|user| user.user.clone()))
    }

    async fn by_username(&self, name: &Username) -> Result<Option<NewUser>, StoreError> {
        let tables = self.tables();
        let mut users = tables.users.iter().map(|(user, _)| user);
        Ok(users.find(|user| user.user.username.key() == name.key()).cloned())
    }

    async fn grant(&self, entry: &LedgerEntry) -> Result<Grant, StoreError> {
        self.tables().grant(entry)
    }

    async fn grant_all(&self, entries: &[LedgerEntry]) -> Result<Vec<Grant>, StoreError> {
        let mut tables = self.tables();
        // All or none: the copy takes the place of the original when nothing has failed.
        let mut all = tables.clone();
        let grants = entries.iter().map(|entry| all.grant(entry)).collect::<Result<_, _>>()?;
        *tables = all;
        Ok(grants)
    }

    async fn balance(&self, id: &UserId) -> Result<Option<Money>, StoreError> {
        Ok(self.tables().balance(id))
    }

    async fn entries(
        &self,
        id: &UserId,
        before: Option<EntryId>,
        limit: usize,
    ) -> Result<Vec<LedgerEntry>, StoreError> {
        let tables = self.tables();
        let theirs = tables.ledger.iter().rev().filter(|entry| entry.user_id == *id);
        let from = theirs
            .skip_while(|entry| before.is_some_and(|id| entry.id != id))
            .skip(usize::from(before.is_some()));
        Ok(from.take(limit).cloned().collect())
    }

    async fn users_without(
        &self,
        kind: EntryKind,
        limit: usize,
    ) -> Result<Vec<UserId>, StoreError> {
        let tables = self.tables();
        let has = |id: &UserId| tables.ledger.iter().any(|e| e.user_id == *id && e.kind == kind);
        let ids = tables.users.iter().map(|(user, _)| &user.user.id);
        Ok(ids.filter(|id| !has(id)).take(limit).cloned().collect())
    }
}

#[async_trait]
impl Sessions for MemoryBank {
    async fn open(&self, session: &Session) -> Result<(), StoreError> {
        let mut tables = self.tables();
        if tables.user(&session.user_id).is_none() || tables.sessions.contains_key(&session.token) {
            return Err(corrupt("a session of nobody, or with a token that exists"));
        }
        tables.sessions.insert(session.token, session.clone());
        Ok(())
    }

    async fn find(&self, token: &TokenHash, now: Timestamp) -> Result<Option<Session>, StoreError> {
        let tables = self.tables();
        Ok(tables.sessions.get(token).filter(|session| session.expires_at > now).cloned())
    }

    async fn close(&self, token: &TokenHash) -> Result<(), StoreError> {
        self.tables().sessions.remove(token);
        Ok(())
    }

    async fn purge(&self, now: Timestamp) -> Result<u64, StoreError> {
        let sessions = &mut self.tables().sessions;
        let before = sessions.len();
        sessions.retain(|_, session| session.expires_at > now);
        Ok((before - sessions.len()) as u64)
    }
}

#[async_trait]
impl Positions for MemoryBank {
    async fn open(&self, opening: &Opening) -> Result<Open, OpenError> {
        self.tables().open(opening)
    }

    async fn opened_with(
        &self,
        user: &UserId,
        key: &IdempotencyKey,
        now: Timestamp,
    ) -> Result<Option<Position>, StoreError> {
        Ok(self.tables().keyed(user, key, now).cloned())
    }

    async fn close(&self, closed: &Position, entry: EntryId) -> Result<Close, StoreError> {
        self.tables().close(closed, entry)
    }

    async fn close_all(
        &self,
        closings: &[Closing],
        lease: Option<HeldLease>,
    ) -> Result<Vec<Close>, StoreError> {
        let mut tables = self.tables();
        if lease.is_some_and(|lease| !tables.leases.are_held_with(&lease.name, lease.fence)) {
            return Ok(vec![Close::LeaseLost; closings.len()]);
        }
        // All or none, as above.
        let mut all = tables.clone();
        let mut close = |closing: &Closing| all.close(&closing.position, closing.entry);
        let closes = closings.iter().map(&mut close).collect::<Result<_, _>>()?;
        *tables = all;
        Ok(closes)
    }

    async fn find(&self, user: &UserId, id: PositionId) -> Result<Option<Position>, StoreError> {
        let tables = self.tables();
        let mut positions = tables.positions.iter().map(|row| &row.position);
        Ok(positions.find(|p| p.user_id == *user && p.id == id).cloned())
    }

    async fn page(
        &self,
        user: &UserId,
        status: Option<Status>,
        before: Option<PositionId>,
        limit: usize,
    ) -> Result<Vec<Position>, StoreError> {
        let tables = self.tables();
        let positions = tables.positions.iter().rev().map(|row| &row.position);
        let theirs = positions.filter(|position| position.user_id == *user);
        let from = theirs
            .skip_while(|position| before.is_some_and(|id| position.id != id))
            .skip(usize::from(before.is_some()));
        let wanted = from.filter(|position| match status {
            None => true,
            Some(Status::Open) => position.closed.is_none(),
            Some(Status::Closed) => position.closed.is_some(),
        });
        Ok(wanted.take(limit).cloned().collect())
    }

    async fn all_open(
        &self,
        after: Option<PositionId>,
        limit: usize,
    ) -> Result<Vec<Position>, StoreError> {
        let tables = self.tables();
        let positions = tables.positions.iter().map(|row| &row.position);
        let open = |p: &&Position| p.closed.is_none() && after.is_none_or(|after| p.id > after);
        let mut open: Vec<_> = positions.filter(open).cloned().collect();
        open.sort_by_key(|position| position.id);
        open.truncate(limit);
        Ok(open)
    }

    async fn closed_without(
        &self,
        reward: EntryKind,
        earned_by: EarnedBy,
        limit: usize,
    ) -> Result<Vec<(UserId, PositionId)>, StoreError> {
        let tables = self.tables();
        let owed = tables
            .earned(earned_by)
            .filter(|p| !tables.has_entry(&p.user_id, reward, &p.id.to_string()));
        Ok(owed.take(limit).map(|p| (p.user_id.clone(), p.id)).collect())
    }
}
