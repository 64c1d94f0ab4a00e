//! A user's view of their account.

use std::sync::Arc;

use doorstep_domain::ports::{Accounts, Inbox, StoreError};
use doorstep_domain::{EntryId, LedgerEntry, Money, User, UserId};

/// Shows users their accounts.
#[derive(Clone)]
pub struct AccountViews {
    accounts: Arc<dyn Accounts>,
    inbox: Option<Arc<dyn Inbox>>,
}

opaque!(AccountViews);

/// A user with their balance and their number of unread items.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountSummary {
    /// The user.
    pub user: User,
    /// The balance.
    pub balance: Money,
    /// How many unread items the inbox has; zero without an inbox.
    pub unread: u64,
}

/// A page of the ledger, newest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LedgerPage {
    /// The entries.
    pub entries: Vec<LedgerEntry>,
    /// Where the next page begins; `None` on the last one.
    pub next: Option<EntryId>,
}

impl AccountViews {
    /// The largest number of entries per page.
    pub const MAX_PAGE: usize = 100;

    /// Creates views of these accounts, with unread counts if there is an inbox.
    pub fn new(accounts: Arc<dyn Accounts>, inbox: Option<Arc<dyn Inbox>>) -> Self {
        Self { accounts, inbox }
    }

    /// Returns the user's account. Every user who has a session has an account.
    pub async fn me(&self, id: &UserId) -> Result<AccountSummary, StoreError> {
        let missing = || StoreError::Corrupt(format!("a session of user {id}, who does not exist"));
        let user = self.accounts.user(id).await?.ok_or_else(missing)?;
        let balance = self.accounts.balance(id).await?.ok_or_else(missing)?;
        let unread = match &self.inbox {
            Some(inbox) => inbox.unread(id).await?,
            None => 0,
        };
        Ok(AccountSummary { user, balance, unread })
    }

    /// Returns the user's ledger entries before `before`, newest first: at most `limit`, and never more than
    /// [`AccountViews::MAX_PAGE`].
    pub async fn ledger(
        &self,
        id: &UserId,
        before: Option<EntryId>,
        limit: usize,
    ) -> Result<LedgerPage, StoreError> {
        let limit = limit.clamp(1, Self::MAX_PAGE);
        // One extra entry tells whether there is a next page.
        let mut entries = self.accounts.entries(id, before, limit + 1).await?;
        let more = entries.len() > limit;
        entries.truncate(limit);
        let next = more.then(|| entries.last().map(|entry| entry.id)).flatten();
        Ok(LedgerPage { entries, next })
    }
}

#[cfg(test)]
mod tests {
    use doorstep_domain::ports::{MockAccounts, MockInbox};
    use doorstep_domain::{EntryKind, Timestamp};
    use uuid::Uuid;

    use super::*;

    fn ada() -> User {
        User {
            id: UserId::from(Uuid::from_u128(1)),
            username: "ada".parse().unwrap(),
            created_at: Timestamp::default(),
        }
    }

    fn entry(number: u128) -> LedgerEntry {
        LedgerEntry {
            id: EntryId::new(Uuid::from_u128(number)),
            user_id: ada().id,
            kind: EntryKind::WelcomeGift,
            amount: Money::from_minor(1),
            reference: number.to_string(),
            created_at: Timestamp::default(),
        }
    }

    /// A ledger of `size` entries, newest first.
    fn ledger(size: u128) -> AccountViews {
        let mut accounts = MockAccounts::new();
        accounts.expect_entries().returning(move |_, before, limit| {
            let newest = before.map_or(size, |before| before.as_uuid().as_u128() - 1);
            Ok((1..=newest).rev().take(limit).map(entry).collect())
        });
        AccountViews::new(Arc::new(accounts), None)
    }

    #[tokio::test]
    async fn pages_meet_without_gap_or_overlap_and_the_last_one_says_so() {
        for size in 0..6 {
            let (views, mut before, mut seen) = (ledger(size), None, Vec::new());
            loop {
                let page = views.ledger(&ada().id, before, 2).await.unwrap();
                assert!(page.entries.len() <= 2);
                seen.extend(page.entries);
                before = page.next;
                if before.is_none() {
                    break;
                }
            }
            assert_eq!(seen, (1..=size).rev().map(entry).collect::<Vec<_>>(), "of {size}");
        }
    }

    #[tokio::test]
    async fn no_page_is_longer_than_the_longest() {
        let page = ledger(1000).ledger(&ada().id, None, usize::MAX).await.unwrap();
        assert_eq!(page.entries.len(), AccountViews::MAX_PAGE);
    }

    #[tokio::test]
    async fn unread_is_counted_where_there_is_an_inbox() {
        for (inbox, expected) in [(true, 3), (false, 0)] {
            let mut accounts = MockAccounts::new();
            accounts.expect_user().returning(|_| Ok(Some(ada())));
            accounts.expect_balance().returning(|_| Ok(Some(Money::from_minor(5))));
            let inbox = inbox.then(|| {
                let mut inbox = MockInbox::new();
                inbox.expect_unread().returning(|_| Ok(3));
                Arc::new(inbox) as Arc<dyn Inbox>
            });
            let me = AccountViews::new(Arc::new(accounts), inbox).me(&ada().id).await.unwrap();
            assert_eq!(
                me,
                AccountSummary { user: ada(), balance: Money::from_minor(5), unread: expected }
            );
        }
    }
}
