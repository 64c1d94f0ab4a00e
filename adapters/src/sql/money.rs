//! The one place where SQL moves money: every statement that changes a balance or adds a ledger entry, and the
//! reads of both for users.

use doorstep_domain::ports::{Grant, StoreError};
use doorstep_domain::{EntryId, EntryKind, LedgerEntry, Money, Timestamp, UserId};
use sqlx::any::AnyRow;
use sqlx::{AssertSqlSafe, Row};
use uuid::Uuid;

use super::Store;
use super::accounts::{at_most, below_if_unknown};
use super::error::{failed, unreadable};
use super::run::Write;
use super::text;

/// The columns that [`read_entry`] expects, in this order.
const LEDGER_COLUMNS: &str = "id, user_id, kind, amount, reference, created_at";

/// The balance of a user whose row is locked until the commit.
pub(super) struct HeldBalance {
    /// The user's id, escaped.
    user: String,
    /// Their balance.
    pub(super) balance: Money,
}

impl Store {
    /// Locks the user's row until the commit, so that changes of one balance wait for each other. Call it first in
    /// every transaction that moves money: then two transactions cannot deadlock.
    ///
    /// Fails with [`StoreError::Corrupt`] if there is no such user.
    pub(super) async fn hold_balance(
        &self,
        transaction: &mut Write,
        user_id: &UserId,
    ) -> Result<HeldBalance, StoreError> {
        let user = text::kept(&user_id.to_string());
        let sql = format!("SELECT balance FROM users WHERE id = $1{}", self.dialect.for_update);
        let query = sqlx::query(AssertSqlSafe(sql)).bind(&user);
        let row = transaction.optional(query).await?;
        let row = row.ok_or_else(|| unreadable("ledger", format!("there is no user {user_id}")))?;
        Ok(HeldBalance { user, balance: Money::from_minor(row.try_get(0).map_err(failed)?) })
    }

    /// Returns the user's balance; `None` if there is no such user.
    pub(super) async fn read_balance(&self, id: &UserId) -> Result<Option<Money>, StoreError> {
        let id = text::kept(&id.to_string());
        let sql = "SELECT balance FROM users WHERE id = $1";
        let row = self.row(|| sqlx::query(sql).bind(&id)).await?;
        row.map(|row| Ok(Money::from_minor(row.try_get(0).map_err(failed)?))).transpose()
    }

    /// Returns the user's ledger entries, newest first, beginning before the entry `before`.
    pub(super) async fn read_entries(
        &self,
        id: &UserId,
        before: Option<EntryId>,
        limit: usize,
    ) -> Result<Vec<LedgerEntry>, StoreError> {
        let (id, before) = (text::kept(&id.to_string()), before.map(|id| id.to_string()));
        let sql = format!(
            "SELECT {LEDGER_COLUMNS} FROM ledger WHERE user_id = $1 \
             AND seq < COALESCE((SELECT seq FROM ledger WHERE id = $2 AND user_id = $1), $3) \
             ORDER BY seq DESC LIMIT $4"
        );
        let rows = self.rows(|| {
            sqlx::query(AssertSqlSafe(sql.as_str()))
                .bind(&id)
                .bind(before.clone())
                .bind(below_if_unknown(before.is_some()))
                .bind(at_most(limit))
        });
        rows.await?.iter().map(read_entry).collect()
    }
}

/// The places of these in the order of their users. **A transaction that holds several balances takes them in this order**:
/// two of them then never wait for each other.
pub(super) fn in_order_of_users<T>(all: &[T], user: impl Fn(&T) -> &UserId) -> Vec<usize> {
    let mut places: Vec<_> = (0..all.len()).collect();
    places.sort_by_key(|place| user(&all[*place]));
    places
}

/// Writes the entry and changes the balance, as part of the transaction. Changes nothing if the user already has
/// an entry of this kind and reference.
///
/// Because the user's row is locked, entries are numbered in the order in which they become visible.
/// Fails with [`StoreError::Corrupt`] if the balance would fall below zero or out of range: callers check first
/// that there is enough money.
pub(super) async fn move_money(
    transaction: &mut Write,
    HeldBalance { user, balance }: HeldBalance,
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

/// Reads an entry from [`LEDGER_COLUMNS`].
fn read_entry(row: &AnyRow) -> Result<LedgerEntry, StoreError> {
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
