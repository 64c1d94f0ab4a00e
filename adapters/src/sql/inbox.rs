use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};

use async_trait::async_trait;
use doorstep_domain::ports::{Inbox, InboxItem, StoreError, Which};
use doorstep_domain::{Notification, NotificationId, Timestamp, UserId};
use sqlx::any::AnyRow;
use sqlx::{Any, AssertSqlSafe, Row, Transaction};

use super::accounts::{at_most, below_if_unknown};
use super::batch::{pieces, places};
use super::error::failed;
use super::handover::in_order;
use super::notification::{COLUMNS, insert, read, read_all};
use super::run::within;
use super::{Store, text};

/// As many as [`Inbox::mark_read`] answers at most.
const ANSWERS: i64 = 1_000;

/// Queues in which writers wait for their turn; a user has one of them.
const QUEUES: u64 = 64;

#[async_trait]
impl Inbox for Store {
    async fn add(&self, notifications: &[Notification]) -> Result<(), StoreError> {
        let mut transaction = self.begin().await?;
        self.take_turns(&mut transaction, notifications).await?;
        insert(&mut transaction, "inbox", notifications).await?;
        within(transaction.commit()).await
    }

    async fn undelivered(
        &self,
        user: &UserId,
        limit: usize,
    ) -> Result<Vec<Notification>, StoreError> {
        let user = text::kept(&user.to_string());
        let sql = format!(
            "SELECT {COLUMNS} FROM inbox WHERE user_id = $1 AND delivered_at IS NULL \
             ORDER BY seq LIMIT $2"
        );
        let rows =
            self.rows(|| sqlx::query(AssertSqlSafe(sql.as_str())).bind(&user).bind(at_most(limit)));
        read_all(&rows.await?)
    }

    async fn mark_delivered(
        &self,
        items: &[(UserId, NotificationId)],
        at: Timestamp,
    ) -> Result<(), StoreError> {
        // In one order for all, so that two who mark the same wait for each other and not in a circle.
        let mut items: Vec<_> = items.iter().collect();
        items.sort_unstable_by_key(|(_, id)| *id);
        let mut transaction = self.begin().await?;
        for piece in pieces(&items) {
            let sql = format!(
                "UPDATE inbox SET delivered_at = $1 FROM (VALUES {}) AS item \
                 WHERE inbox.id = item.column1 AND inbox.user_id = item.column2 \
                 AND inbox.delivered_at IS NULL",
                places(2, piece.len(), 2)
            );
            let mut query = sqlx::query(AssertSqlSafe(sql)).bind(at.as_micros());
            for (user, id) in piece {
                query = query.bind(id.to_string()).bind(text::kept(&user.to_string()));
            }
            within(query.execute(&mut *transaction)).await?;
        }
        within(transaction.commit()).await
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
            "SELECT {COLUMNS}, read_at FROM inbox WHERE user_id = $1 {unread}\
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
    ) -> Result<Option<Vec<Notification>>, StoreError> {
        let user = text::kept(&user.to_string());
        let mut transaction = self.begin().await?;
        let until_now_undelivered = match which {
            Which::One(id) => self.read_one(&mut transaction, &user, id, at).await?,
            Which::All => Some(self.read_all(&mut transaction, &user, at).await?),
        };
        within(transaction.commit()).await?;
        Ok(until_now_undelivered)
    }

    async fn unread(&self, user: &UserId) -> Result<u64, StoreError> {
        let user = text::kept(&user.to_string());
        let sql = "SELECT COUNT(*) FROM inbox WHERE user_id = $1 AND read_at IS NULL";
        let row = self.row(|| sqlx::query(sql).bind(&user)).await?;
        let count: i64 = row.map_or(Ok(0), |row| row.try_get(0)).map_err(failed)?;
        Ok(u64::try_from(count).unwrap_or(0))
    }
}

impl Store {
    /// Lets whoever adds for one user do so one after the other. Else a number drawn first could become
    /// visible last, and a reader who asks for what was added after the newest it saw would miss it.
    async fn take_turns(
        &self,
        transaction: &mut Transaction<'static, Any>,
        notifications: &[Notification],
    ) -> Result<(), StoreError> {
        let Some(sql) = self.dialect.take_turns else { return Ok(()) };
        let queues: BTreeSet<_> = notifications.iter().map(|n| queue(&n.user_id)).collect();
        let queues: Vec<_> = queues.iter().map(u64::to_string).collect();
        let query = sqlx::query(sql).bind(queues.join(","));
        within(query.fetch_all(&mut **transaction)).await?;
        Ok(())
    }

    async fn read_one(
        &self,
        transaction: &mut Transaction<'static, Any>,
        user: &str,
        id: NotificationId,
        at: Timestamp,
    ) -> Result<Option<Vec<Notification>>, StoreError> {
        let sql = format!(
            "SELECT {COLUMNS}, delivered_at FROM inbox WHERE id = $1 AND user_id = $2{}",
            self.dialect.for_update
        );
        let query = sqlx::query(AssertSqlSafe(sql)).bind(id.to_string()).bind(user);
        let Some(row) = within(query.fetch_optional(&mut **transaction)).await? else {
            return Ok(None);
        };
        let delivered: Option<i64> = row.try_get("delivered_at").map_err(failed)?;
        let query = sqlx::query(
            "UPDATE inbox SET read_at = $1, delivered_at = COALESCE(delivered_at, $1) \
             WHERE id = $2 AND read_at IS NULL",
        )
        .bind(at.as_micros())
        .bind(id.to_string());
        within(query.execute(&mut **transaction)).await?;
        Ok(Some(if delivered.is_none() { vec![read(&row)?] } else { Vec::new() }))
    }

    async fn read_all(
        &self,
        transaction: &mut Transaction<'static, Any>,
        user: &str,
        at: Timestamp,
    ) -> Result<Vec<Notification>, StoreError> {
        let sql = format!(
            "WITH next AS MATERIALIZED \
             (SELECT seq FROM inbox WHERE user_id = $2 AND delivered_at IS NULL \
             ORDER BY seq LIMIT $3{}) \
             UPDATE inbox SET delivered_at = $1, read_at = $1 \
             WHERE seq IN (SELECT seq FROM next) RETURNING {COLUMNS}, seq",
            self.dialect.for_update
        );
        let query = sqlx::query(AssertSqlSafe(sql)).bind(at.as_micros()).bind(user).bind(ANSWERS);
        let until_now_undelivered = in_order(&within(query.fetch_all(&mut **transaction)).await?)?;
        // Only what was delivered before: what comes in meanwhile must be answered first.
        let query = sqlx::query(
            "UPDATE inbox SET read_at = $1 \
             WHERE user_id = $2 AND read_at IS NULL AND delivered_at IS NOT NULL",
        )
        .bind(at.as_micros())
        .bind(user);
        within(query.execute(&mut **transaction)).await?;
        Ok(until_now_undelivered)
    }
}

/// The user's queue: the same on every node, as the hasher's keys are fixed.
fn queue(user: &UserId) -> u64 {
    let mut hasher = DefaultHasher::new();
    user.hash(&mut hasher);
    hasher.finish() % QUEUES
}

fn read_item(row: &AnyRow) -> Result<InboxItem, StoreError> {
    let read_at: Option<i64> = row.try_get("read_at").map_err(failed)?;
    Ok(InboxItem { notification: read(row)?, read_at: read_at.map(Timestamp::from_micros) })
}
