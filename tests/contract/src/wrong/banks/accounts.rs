//! What is wrong with users and their money.

use async_trait::async_trait;
use doorstep_domain::ports::{Accounts, Grant, RegisterError, Sessions, StoreError};
use doorstep_domain::{
    EntryId, EntryKind, LedgerEntry, Money, NewUser, PasswordHash, Session, User, UserId, Username,
};
use tokio::task::yield_now;
use uuid::Uuid;

use super::{Flaw, Place, Wrong, WrongAdapter, with_flaws};
use crate::{accounts, durable_accounts, durable_ledger, ledger};

/// What each does, and the promise about users that it breaks.
const USERS: [(Flaw, &str, &str); 10] = [
    (Flaw::LosesPasswords, "does not return the hash of a password", "account found"),
    (Flaw::FindsUuidsOnly, "finds no user whose id is not a UUID", "account found"),
    (Flaw::BeginsWithMoney, "shows a balance of 0.01 to whoever has nothing", "account new"),
    (Flaw::UnknownHasZero, "shows a balance of zero to nobody", "account unknown"),
    (Flaw::SpellingMatters, "finds a name only as it was spelled", "account spelling"),
    (Flaw::KeepsTheUserOfAFailure, "stores the user whose session it cannot", "account whole"),
    (Flaw::LooksForTheName, "looks for a name, and then stores the user", "account name at once"),
    (Flaw::OwedNewestFirst, "lists who lacks a reward newest first", "account reward owed"),
    (Flaw::OwedIgnoresLimit, "lists all who lack a reward", "account reward owed"),
    (Flaw::LosesAtReopening, "keeps users in memory", "account durable"),
];

/// What each does, and the promise about money that it breaks.
const MONEY: [(Flaw, &str, &str); 12] = [
    (Flaw::LosesReferences, "does not return the reference of an entry", "ledger grant"),
    (Flaw::GrantsAgain, "grants the same twice", "ledger once"),
    (Flaw::OncePerReference, "grants a reference to one user only", "ledger own"),
    (Flaw::GrantedEach, "returns Granted for each of several", "ledger together"),
    (Flaw::GrantsOneByOne, "grants several one by one", "ledger all or none"),
    (Flaw::GrantsToNobody, "returns Granted for nobody", "ledger nobody"),
    (Flaw::GrantsWhatIsRefused, "returns Granted for what the bounds forbid", "ledger bounds"),
    (Flaw::EntriesRepeat, "begins a page with the last of the one before", "ledger pages"),
    (Flaw::EntriesOfUnknown, "begins at the newest before an unknown entry", "ledger pages"),
    (
        Flaw::CopiesToGrant,
        "grants in a copy, and then replaces the original",
        "ledger once at once",
    ),
    (Flaw::BalanceFromBefore, "reads a balance, and later writes the sum", "ledger exact"),
    (Flaw::LosesAtReopening, "keeps the ledger in memory", "ledger durable"),
];

pub(super) fn all() -> Vec<WrongAdapter> {
    let users = with_flaws(&USERS, |flaw| async move {
        let mut place = Place(Wrong::with(flaw));
        accounts(place.0.clone()).await;
        durable_accounts(&mut place).await;
    });
    let money = with_flaws(&MONEY, |flaw| async move {
        let mut place = Place(Wrong::with(flaw));
        ledger(place.0.clone()).await;
        durable_ledger(&mut place).await;
    });
    users.into_iter().chain(money).collect()
}

/// The same entry with a reference that nobody used.
fn renamed(entry: &LedgerEntry) -> LedgerEntry {
    let id = EntryId::new(Uuid::now_v7());
    LedgerEntry { id, reference: id.to_string(), ..entry.clone() }
}

#[async_trait]
impl Accounts for Wrong {
    async fn register(&self, user: &NewUser, session: &Session) -> Result<(), RegisterError> {
        self.state().sessions.push(session.clone());
        self.state().known.push(session.token);
        if self.is(Flaw::LooksForTheName) {
            let taken = self.inner.by_username(&user.user.username).await?.is_some();
            yield_now().await;
            let stored = self.inner.register(user, session).await;
            let too_late = matches!(stored, Err(RegisterError::UsernameTaken)) && !taken;
            return if too_late { Ok(()) } else { stored };
        }
        let stored = self.inner.register(user, session).await;
        match (self.flaw, &stored) {
            (Flaw::KeepsTheUserOfAFailure, Err(RegisterError::Store(_))) => {
                let other = crate::sample::session(&user.user.id, session.expires_at);
                self.inner.register(user, &other).await?;
            }
            (Flaw::ForgetsTheFirst, Ok(())) => Sessions::close(&self.inner, &session.token).await?,
            _ => {}
        }
        stored
    }

    async fn user(&self, id: &UserId) -> Result<Option<User>, StoreError> {
        if self.is(Flaw::FindsUuidsOnly) && id.text_bytes().is_some() {
            return Ok(None);
        }
        self.inner.user(id).await
    }

    async fn by_username(&self, name: &Username) -> Result<Option<NewUser>, StoreError> {
        let found = self.inner.by_username(name).await?;
        Ok(match self.flaw {
            Flaw::LosesPasswords => {
                found.map(|user| NewUser { password: PasswordHash::new(String::new()), ..user })
            }
            Flaw::SpellingMatters => found.filter(|user| user.user.username == *name),
            _ => found,
        })
    }

    async fn grant(&self, entry: &LedgerEntry) -> Result<Grant, StoreError> {
        let user = &entry.user_id;
        match self.flaw {
            Flaw::OncePerReference => {
                let what = (entry.kind, entry.reference.clone());
                let first =
                    self.state().granted.entry(what).or_insert_with(|| user.clone()).clone();
                if first != *user {
                    return Ok(Grant::AlreadyGranted);
                }
            }
            Flaw::GrantsAgain if self.inner.grant(entry).await? == Grant::AlreadyGranted => {
                return self.inner.grant(&renamed(entry)).await;
            }
            Flaw::GrantsAgain => return Ok(Grant::Granted),
            Flaw::GrantsToNobody if self.inner.user(user).await?.is_none() => {
                return Ok(Grant::Granted);
            }
            Flaw::GrantsWhatIsRefused if self.inner.user(user).await?.is_some() => {
                return Ok(self.inner.grant(entry).await.unwrap_or(Grant::Granted));
            }
            Flaw::CopiesToGrant => {
                let copy = self.inner.copy();
                let granted = copy.grant(entry).await;
                yield_now().await;
                self.inner.replace_with(&copy);
                return granted;
            }
            Flaw::BalanceFromBefore => {
                let before = self.inner.balance(user).await?;
                yield_now().await;
                let granted = self.inner.grant(entry).await?;
                let sum = before.and_then(|before| before.checked_add(entry.amount));
                if let (Grant::Granted, Some(sum)) = (granted, sum) {
                    self.inner.set_balance(user, sum);
                }
                return Ok(granted);
            }
            _ => {}
        }
        self.inner.grant(entry).await
    }

    async fn grant_all(&self, entries: &[LedgerEntry]) -> Result<Vec<Grant>, StoreError> {
        if self.is(Flaw::GrantsOneByOne) {
            let mut grants = Vec::new();
            for entry in entries {
                grants.push(self.inner.grant(entry).await?);
            }
            return Ok(grants);
        }
        let mut grants = self.inner.grant_all(entries).await?;
        if self.is(Flaw::GrantedEach) {
            grants.fill(Grant::Granted);
        }
        Ok(grants)
    }

    async fn balance(&self, id: &UserId) -> Result<Option<Money>, StoreError> {
        let balance = self.inner.balance(id).await?;
        Ok(match (self.flaw, balance) {
            (Flaw::BeginsWithMoney, Some(Money::ZERO)) => Some(Money::from_minor(1)),
            (Flaw::UnknownHasZero, None) => Some(Money::ZERO),
            _ => balance,
        })
    }

    async fn entries(
        &self,
        id: &UserId,
        before: Option<EntryId>,
        limit: usize,
    ) -> Result<Vec<LedgerEntry>, StoreError> {
        let all = self.inner.entries(id, None, usize::MAX).await?;
        let named = |entry: &&LedgerEntry| before == Some(entry.id);
        let mut entries = self.inner.entries(id, before, limit).await?;
        match self.flaw {
            Flaw::LosesReferences => {
                for entry in &mut entries {
                    entry.reference.clear();
                }
            }
            Flaw::EntriesRepeat => {
                entries.splice(..0, all.iter().find(named).cloned());
                entries.truncate(limit);
            }
            Flaw::EntriesOfUnknown if !all.iter().any(|entry| named(&entry)) => {
                entries = all.into_iter().take(limit).collect();
            }
            _ => {}
        }
        Ok(entries)
    }

    async fn users_without(
        &self,
        kind: EntryKind,
        limit: usize,
    ) -> Result<Vec<UserId>, StoreError> {
        let all = self.inner.users_without(kind, usize::MAX).await?;
        Ok(match self.flaw {
            Flaw::OwedNewestFirst => all.into_iter().rev().take(limit).collect(),
            Flaw::OwedIgnoresLimit => all,
            _ => all.into_iter().take(limit).collect(),
        })
    }
}
