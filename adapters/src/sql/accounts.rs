use async_trait::async_trait;
use doorstep_domain::ports::{Accounts, Grant, RegisterError, StoreError};
use doorstep_domain::{
    EntryId, EntryKind, LedgerEntry, Money, NewUser, PasswordHash, Session, Timestamp, User,
    UserId, Username,
};
use sqlx::Row;
use sqlx::any::AnyRow;

use super::error::{failed, unreadable};
use super::{Store, money, sessions, text};

#[async_trait]
impl Accounts for Store {
    async fn register(&self, user: &NewUser, session: &Session) -> Result<(), RegisterError> {
        let NewUser { user, password } = user;
        let mut transaction = self.begin().await?;
        let query = sqlx::query(
            "INSERT INTO users (id, username, username_key, password, created_at) \
             VALUES ($1, $2, $3, $4, $5) ON CONFLICT (username_key) DO NOTHING",
        )
        .bind(text::kept(&user.id.to_string()))
        .bind(user.username.as_str())
        .bind(user.username.key())
        .bind(password.as_str())
        .bind(user.created_at.as_micros());
        if transaction.execute(query).await? == 0 {
            return Err(RegisterError::UsernameTaken);
        }
        transaction.execute(sessions::insert(session)).await?;
        Ok(transaction.commit().await?)
    }

    async fn user(&self, id: &UserId) -> Result<Option<User>, StoreError> {
        let id = text::kept(&id.to_string());
        let sql = "SELECT id, username, created_at FROM users WHERE id = $1";
        let row = self.row(|| sqlx::query(sql).bind(&id)).await?;
        row.as_ref().map(read_user).transpose()
    }

    async fn by_username(&self, name: &Username) -> Result<Option<NewUser>, StoreError> {
        let key = name.key();
        let sql = "SELECT id, username, created_at, password FROM users WHERE username_key = $1";
        let row = self.row(|| sqlx::query(sql).bind(&key)).await?;
        let read = |row: &AnyRow| {
            let password = PasswordHash::new(row.try_get(3).map_err(failed)?);
            Ok(NewUser { user: read_user(row)?, password })
        };
        row.as_ref().map(read).transpose()
    }

    async fn grant(&self, entry: &LedgerEntry) -> Result<Grant, StoreError> {
        let mut transaction = self.begin().await?;
        let held = self.hold_balance(&mut transaction, &entry.user_id).await?;
        let grant = money::move_money(&mut transaction, held, entry).await?;
        transaction.commit().await?;
        Ok(grant)
    }

    async fn grant_all(&self, entries: &[LedgerEntry]) -> Result<Vec<Grant>, StoreError> {
        let mut grants = vec![Grant::AlreadyGranted; entries.len()];
        let mut transaction = self.begin().await?;
        for place in money::in_order_of_users(entries, |entry| &entry.user_id) {
            let entry = &entries[place];
            let held = self.hold_balance(&mut transaction, &entry.user_id).await?;
            grants[place] = money::move_money(&mut transaction, held, entry).await?;
        }
        transaction.commit().await?;
        Ok(grants)
    }

    async fn balance(&self, id: &UserId) -> Result<Option<Money>, StoreError> {
        self.read_balance(id).await
    }

    async fn entries(
        &self,
        id: &UserId,
        before: Option<EntryId>,
        limit: usize,
    ) -> Result<Vec<LedgerEntry>, StoreError> {
        self.read_entries(id, before, limit).await
    }

    async fn users_without(
        &self,
        kind: EntryKind,
        limit: usize,
    ) -> Result<Vec<UserId>, StoreError> {
        let sql = "SELECT id FROM users WHERE NOT EXISTS \
                   (SELECT 1 FROM ledger WHERE ledger.user_id = users.id AND ledger.kind = $1) \
                   ORDER BY seq LIMIT $2";
        let rows = self.rows(|| sqlx::query(sql).bind(kind.as_str()).bind(at_most(limit))).await?;
        rows.iter().map(read_id).collect()
    }
}

/// Converts a limit for SQL.
pub(super) fn at_most(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

/// The upper bound of a page that goes backwards when its `before` row is not found: without `before` the page
/// starts at the newest row, with an unknown one it is empty.
pub(super) fn below_if_unknown(named: bool) -> i64 {
    if named { 0 } else { i64::MAX }
}

fn read_id(row: &AnyRow) -> Result<UserId, StoreError> {
    let id: String = row.try_get(0).map_err(failed)?;
    text::unkept(id).parse().map_err(|e| unreadable("users, id", e))
}

/// Reads a user from `id, username, created_at`.
fn read_user(row: &AnyRow) -> Result<User, StoreError> {
    let username: &str = row.try_get(1).map_err(failed)?;
    Ok(User {
        id: read_id(row)?,
        username: username.parse().map_err(|e| unreadable("users, username", e))?,
        created_at: Timestamp::from_micros(row.try_get(2).map_err(failed)?),
    })
}
