use async_trait::async_trait;
use doorstep_domain::ports::{EnteredBy, Inbox, InboxItem, Removed, Retention, StoreError, Which};
use doorstep_domain::{Notification, NotificationId, Timestamp, Topic, UserId};
use sqlx::any::AnyRow;
use sqlx::{AssertSqlSafe, Row};

use super::accounts::{at_most, below_if_unknown};
use super::batch::{pieces, places};
use super::error::{failed, unreadable};
use super::handover::in_order;
use super::notification::insert;
use super::run::Write;
use super::{Store, notification, text};

/// The columns of an item, beginning with those of its notification.
const ITEM: &str =
    "id, user_id, kind, topic, payload, created_at, ttl, traceparent, entered_by, read_at";

/// The most items that [`Inbox::mark_read`] returns.
const ANSWERS: i64 = 1_000;

#[async_trait]
impl Inbox for Store {
    async fn add(&self, notifications: &[Notification], by: EnteredBy) -> Result<(), StoreError> {
        let mut transaction = self.begin().await?;
        let entered_by = Some(("entered_by", word(by)));
        insert(&mut transaction, "inbox", entered_by, notifications).await?;
        transaction.commit().await
    }

    async fn undelivered(&self, user: &UserId, limit: usize) -> Result<Vec<InboxItem>, StoreError> {
        let user = text::kept(&user.to_string());
        let sql = format!(
            "SELECT {ITEM} FROM inbox WHERE user_id = $1 AND delivered_at IS NULL \
             ORDER BY seq LIMIT $2"
        );
        let rows =
            self.rows(|| sqlx::query(AssertSqlSafe(sql.as_str())).bind(&user).bind(at_most(limit)));
        rows.await?.iter().map(read_item).collect()
    }

    async fn mark_delivered(
        &self,
        items: &[(UserId, NotificationId)],
        at: Timestamp,
    ) -> Result<Vec<NotificationId>, StoreError> {
        // In one order for all callers, so that two that mark the same items cannot deadlock.
        let mut items: Vec<_> = items.iter().collect();
        items.sort_unstable_by_key(|(_, id)| *id);
        let mut transaction = self.begin().await?;
        let mut marked = Vec::new();
        for piece in pieces(&items) {
            let sql = format!(
                "UPDATE inbox SET delivered_at = $1 FROM (VALUES {}) AS item \
                 WHERE inbox.id = item.column1 AND inbox.user_id = item.column2 \
                 AND (inbox.delivered_at IS NULL OR inbox.delivered_at = $1) RETURNING inbox.id",
                places(2, piece.len(), 2)
            );
            let mut query = sqlx::query(AssertSqlSafe(sql)).bind(at.as_micros());
            for (user, id) in piece {
                query = query.bind(id.to_string()).bind(text::kept(&user.to_string()));
            }
            for row in transaction.all(query).await? {
                let id: &str = row.try_get(0).map_err(failed)?;
                marked.push(id.parse().map_err(|why| unreadable("inbox, id", why))?);
            }
        }
        transaction.commit().await?;
        Ok(marked)
    }

    async fn page(
        &self,
        user: &UserId,
        unread_only: bool,
        before: Option<NotificationId>,
        limit: usize,
    ) -> Result<Vec<InboxItem>, StoreError> {
        let (user, before) = (text::kept(&user.to_string()), before.map(|id| id.to_string()));
        let unread = if unread_only { "AND read_at IS NULL " } else { "" };
        let sql = format!(
            "SELECT {ITEM} FROM inbox WHERE user_id = $1 {unread}\
             AND seq < COALESCE((SELECT seq FROM inbox WHERE id = $2 AND user_id = $1), $3) \
             ORDER BY seq DESC LIMIT $4"
        );
        let rows = self.rows(|| {
            sqlx::query(AssertSqlSafe(sql.as_str()))
                .bind(&user)
                .bind(before.clone())
                .bind(below_if_unknown(before.is_some()))
                .bind(at_most(limit))
        });
        rows.await?.iter().map(read_item).collect()
    }

    async fn mark_read(
        &self,
        user: &UserId,
        which: Which,
        at: Timestamp,
    ) -> Result<Option<Vec<InboxItem>>, StoreError> {
        let user = text::kept(&user.to_string());
        let mut transaction = self.begin().await?;
        let until_now_undelivered = match which {
            Which::One(id) => self.read_one(&mut transaction, &user, id, at).await?,
            Which::All => Some(self.read_all(&mut transaction, &user, at).await?),
        };
        transaction.commit().await?;
        Ok(until_now_undelivered)
    }

    async fn unread(&self, user: &UserId) -> Result<u64, StoreError> {
        let user = text::kept(&user.to_string());
        let sql = "SELECT COUNT(*) FROM inbox WHERE user_id = $1 AND read_at IS NULL";
        let row = self.row(|| sqlx::query(sql).bind(&user)).await?;
        let count: i64 = row.map_or(Ok(0), |row| row.try_get(0)).map_err(failed)?;
        Ok(u64::try_from(count).unwrap_or(0))
    }

    async fn remove(&self, id: NotificationId) -> Result<Option<Removed>, StoreError> {
        let sql = format!("DELETE FROM inbox WHERE id = $1 RETURNING {ITEM}, delivered_at");
        let mut transaction = self.begin().await?;
        let query = sqlx::query(AssertSqlSafe(sql)).bind(id.to_string());
        let row = transaction.optional(query).await?;
        // Read before the commit: an item that cannot be read stays.
        let removed = row.map(|row| -> Result<_, StoreError> {
            let delivered: Option<i64> = row.try_get("delivered_at").map_err(failed)?;
            Ok(Removed { item: read_item(&row)?, delivered: delivered.is_some() })
        });
        let removed = removed.transpose()?;
        transaction.commit().await?;
        Ok(removed)
    }

    async fn remove_undelivered(
        &self,
        user: &UserId,
        topic: Option<Topic>,
    ) -> Result<Vec<InboxItem>, StoreError> {
        let sql = format!(
            "WITH next AS MATERIALIZED \
             (SELECT seq FROM inbox WHERE user_id = $1 AND delivered_at IS NULL \
             AND entered_by = 'policy' AND (CAST($2 AS TEXT) IS NULL OR topic = $2) ORDER BY seq LIMIT $3{}) \
             DELETE FROM inbox WHERE seq IN (SELECT seq FROM next) RETURNING {ITEM}, seq",
            self.dialect.for_update
        );
        let mut transaction = self.begin().await?;
        let query = sqlx::query(AssertSqlSafe(sql))
            .bind(text::kept(&user.to_string()))
            .bind(topic.map(|topic| topic.as_str().to_owned()))
            .bind(ANSWERS);
        let rows = transaction.all(query).await?;
        let removed = in_order(&rows, read_item)?;
        transaction.commit().await?;
        Ok(removed)
    }
}

#[async_trait]
impl Retention for Store {
    async fn remove_read(&self, until: Timestamp, limit: usize) -> Result<u64, StoreError> {
        // In the order of the index `inbox_read`, so that the work is that of the rows that go. A repeat removes the
        // next rows, and is no harm.
        let sql = format!(
            "WITH old AS MATERIALIZED \
             (SELECT seq FROM inbox WHERE read_at IS NOT NULL AND read_at <= $1 \
             ORDER BY read_at LIMIT $2{}) \
             DELETE FROM inbox WHERE seq IN (SELECT seq FROM old)",
            self.dialect.for_update_of_free_rows
        );
        let query = || sqlx::query(AssertSqlSafe(sql.clone())).bind(until.as_micros());
        self.execute(|| query().bind(at_most(limit))).await
    }
}

impl Store {
    async fn read_one(
        &self,
        transaction: &mut Write,
        user: &str,
        id: NotificationId,
        at: Timestamp,
    ) -> Result<Option<Vec<InboxItem>>, StoreError> {
        let sql = format!(
            "SELECT {ITEM}, delivered_at FROM inbox WHERE id = $1 AND user_id = $2{}",
            self.dialect.for_update
        );
        let query = sqlx::query(AssertSqlSafe(sql)).bind(id.to_string()).bind(user);
        let Some(row) = transaction.optional(query).await? else {
            return Ok(None);
        };
        let delivered: Option<i64> = row.try_get("delivered_at").map_err(failed)?;
        let query = sqlx::query(
            "UPDATE inbox SET read_at = $1, delivered_at = COALESCE(delivered_at, $1) \
             WHERE id = $2 AND read_at IS NULL",
        )
        .bind(at.as_micros())
        .bind(id.to_string());
        transaction.execute(query).await?;
        let now_read = |item| InboxItem { read_at: Some(at), ..item };
        Ok(Some(if delivered.is_none() {
            vec![read_item(&row).map(now_read)?]
        } else {
            Vec::new()
        }))
    }

    async fn read_all(
        &self,
        transaction: &mut Write,
        user: &str,
        at: Timestamp,
    ) -> Result<Vec<InboxItem>, StoreError> {
        let sql = format!(
            "WITH next AS MATERIALIZED \
             (SELECT seq FROM inbox WHERE user_id = $2 AND delivered_at IS NULL \
             ORDER BY seq LIMIT $3{}) \
             UPDATE inbox SET delivered_at = $1, read_at = $1 \
             WHERE seq IN (SELECT seq FROM next) RETURNING {ITEM}, seq",
            self.dialect.for_update
        );
        let query = sqlx::query(AssertSqlSafe(sql)).bind(at.as_micros()).bind(user).bind(ANSWERS);
        let rows = transaction.all(query).await?;
        let until_now_undelivered = in_order(&rows, read_item)?;
        // Only items that were delivered before: those that arrive in the meantime must be returned first.
        let query = sqlx::query(
            "UPDATE inbox SET read_at = $1 \
             WHERE user_id = $2 AND read_at IS NULL AND delivered_at IS NOT NULL",
        )
        .bind(at.as_micros())
        .bind(user);
        transaction.execute(query).await?;
        Ok(until_now_undelivered)
    }
}

/// The word in the column `entered_by`.
fn word(by: EnteredBy) -> &'static str {
    match by {
        EnteredBy::Policy => "policy",
        EnteredBy::Expiry => "expiry",
    }
}

/// Reads an item from the columns of [`ITEM`].
fn read_item(row: &AnyRow) -> Result<InboxItem, StoreError> {
    let by: &str = row.try_get("entered_by").map_err(failed)?;
    let by = [EnteredBy::Policy, EnteredBy::Expiry]
        .into_iter()
        .find(|&known| word(known) == by)
        .ok_or_else(|| unreadable("inbox, entered_by", by))?;
    let read_at: Option<i64> = row.try_get("read_at").map_err(failed)?;
    let notification = notification::read(row)?;
    Ok(InboxItem { notification, by, read_at: read_at.map(Timestamp::from_micros) })
}
