//! The one place where money moves.

use doorstep_domain::ports::{Grant, StoreError};
use doorstep_domain::{EntryId, EntryKind, LedgerEntry, Money, Timestamp, UserId};
use sqlx::any::AnyRow;
use sqlx::{AssertSqlSafe, Row};
use uuid::Uuid;

use super::Store;
use super::error::{failed, unreadable};
use super::run::Write;
use super::text;

/// The columns that [`read`] expects, in this order.
pub(super) const COLUMNS: &str = "id, user_id, kind, amount, reference, created_at";

/// A user whose row nobody else may change until the commit, and what they have.
pub(super) struct Held {
    /// The user's id, as it is kept.
    user: String,
    /// Their balance.
    pub(super) balance: Money,
}

impl Store {
    /// Holds the user's row until the commit: whoever changes the same balance waits. To be done first in
    /// every transaction that moves money, so that two of them never wait for each other in a circle.
    ///
    /// [`StoreError::Corrupt`] if there is no such user.
    pub(super) async fn hold(
        &self,
        transaction: &mut Write,
        user_id: &UserId,
    ) -> Result<Held, StoreError> {
        let user = text::kept(&user_id.to_string());
        let sql = format!("SELECT balance FROM users WHERE id = $1{}", self.dialect.for_update);
        let query = sqlx::query(AssertSqlSafe(sql)).bind(&user);
        let row = transaction.optional(query).await?;
        let row = row.ok_or_else(|| unreadable("ledger", format!("there is no user {user_id}")))?;
        Ok(Held { user, balance: Money::from_minor(row.try_get(0).map_err(failed)?) })
    }
}

/// Writes the entry and changes the balance, as part of the transaction: unless the user, kind and reference
/// have their entry already, in which case nothing changes.
///
/// As the user is held, their entries are numbered in the order in which they become visible.
/// [`StoreError::Corrupt`] if the balance would fall below zero or out of range: who may be short of money
/// looks at the balance first.
pub(super) async fn append(
    transaction: &mut Write,
    Held { user, balance }: Held,
    entry: &LedgerEntry,
) -> Result<Grant, StoreError> {
    let query = sqlx::query(
        "INSERT INTO ledger (id, user_id, kind, amount, reference, created_at) \
         VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (user_id, kind, reference) DO NOTHING",
    )
    .bind(entry.id.to_string())
    .bind(&user)
    .bind(entry.kind.as_str())
    .bind(entry.amount.minor_units())
    .bind(text::kept(&entry.reference))
    .bind(entry.created_at.as_micros());
    if transaction.execute(query).await? == 0 {
        return Ok(Grant::AlreadyGranted);
    }

    let after = balance.checked_add(entry.amount).filter(|sum| !sum.is_negative());
    let after = after.ok_or_else(|| {
        unreadable("ledger", format!("{balance} and {} make no balance", entry.amount))
    })?;
    let query = sqlx::query("UPDATE users SET balance = $1 WHERE id = $2")
        .bind(after.minor_units())
        .bind(&user);
    transaction.execute(query).await?;
    Ok(Grant::Granted)
}

/// Reads one entry back.
pub(super) fn read(row: &AnyRow) -> Result<LedgerEntry, StoreError> {
    let id: &str = row.try_get(0).map_err(failed)?;
    let bad = |what: &str, why: &dyn std::fmt::Display| {
        unreadable(&format!("ledger entry {id}, {what}"), why)
    };
    let user_id: String = row.try_get(1).map_err(failed)?;
    let kind: &str = row.try_get(2).map_err(failed)?;
    let reference: String = row.try_get(4).map_err(failed)?;
    Ok(LedgerEntry {
        id: EntryId::new(Uuid::try_parse(id).map_err(|e| bad("id", &e))?),
        user_id: text::unkept(user_id).parse().map_err(|e| bad("user_id", &e))?,
        kind: EntryKind::from_word(kind).ok_or_else(|| bad("kind", &kind))?,
        amount: Money::from_minor(row.try_get(3).map_err(failed)?),
        reference: text::unkept(reference),
        created_at: Timestamp::from_micros(row.try_get(5).map_err(failed)?),
    })
}
