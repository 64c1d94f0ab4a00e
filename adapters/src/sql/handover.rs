use async_trait::async_trait;
use doorstep_domain::ports::{Handover, Left, StoreError};
use doorstep_domain::{Notification, NotificationId, Timestamp, UserId};
use sqlx::any::AnyRow;
use sqlx::{AssertSqlSafe, Row};

use super::accounts::at_most;
use super::error::{failed, unreadable};
use super::run::Query;
use super::{Store, notification, text};

#[async_trait]
impl Handover for Store {
    async fn leave(&self, waiting: &[Notification]) -> Result<(), StoreError> {
        let mut transaction = self.begin().await?;
        notification::insert(&mut transaction, "handover", None, waiting).await?;
        transaction.commit().await
    }

    async fn take(&self, limit: usize) -> Result<Vec<Notification>, StoreError> {
        self.take_where("", |query| query, limit).await
    }

    async fn take_for(&self, user: &UserId, limit: usize) -> Result<Vec<Notification>, StoreError> {
        let user = text::kept(&user.to_string());
        // A read first: it waits for no lock, and usually finds nothing.
        let sql = "SELECT 1 FROM handover WHERE user_id = $1 LIMIT 1";
        if self.row(|| sqlx::query(sql).bind(user.clone())).await?.is_none() {
            return Ok(Vec::new());
        }
        self.take_where("WHERE user_id = $2", |query| query.bind(user), limit).await
    }

    async fn take_one(&self, id: NotificationId) -> Result<Option<Notification>, StoreError> {
        let id = id.to_string();
        let taken = self.take_where("WHERE id = $2", |query| query.bind(id), 1).await?;
        Ok(taken.into_iter().next())
    }

    async fn take_expired(
        &self,
        now: Timestamp,
        limit: usize,
    ) -> Result<Vec<Notification>, StoreError> {
        let now = now.as_micros();
        let sql = "SELECT 1 FROM handover WHERE created_at + ttl * 1000 <= $1 LIMIT 1";
        if self.row(|| sqlx::query(sql).bind(now)).await?.is_none() {
            return Ok(Vec::new());
        }
        let ended = "WHERE created_at + ttl * 1000 <= $2";
        self.take_where(ended, |query| query.bind(now), limit).await
    }

    async fn look(&self, after: u64, limit: usize) -> Result<Vec<Left>, StoreError> {
        let after = i64::try_from(after).unwrap_or(i64::MAX);
        let sql = "SELECT seq, user_id FROM handover WHERE seq > $1 ORDER BY seq LIMIT $2";
        let rows = self.rows(|| sqlx::query(sql).bind(after).bind(at_most(limit))).await?;
        let read = |row: &AnyRow| {
            let place: i64 = row.try_get(0).map_err(failed)?;
            let user: String = row.try_get(1).map_err(failed)?;
            let user = text::unkept(user).parse();
            Ok(Left {
                place: place.unsigned_abs(),
                user: user.map_err(|e| unreadable("handover, user_id", e))?,
            })
        };
        rows.iter().map(read).collect()
    }

    fn is_shared(&self) -> bool {
        self.shared
    }
}

impl Store {
    /// Takes the rows that match `such`, a `WHERE` clause. `bind` binds its parameters, which begin with `$2`.
    async fn take_where(
        &self,
        such: &str,
        bind: impl FnOnce(Query<'static>) -> Query<'static> + Send,
        limit: usize,
    ) -> Result<Vec<Notification>, StoreError> {
        // Materialized, so that the rows are chosen only once: a planner that chose again for each deleted row
        // would lock and delete more than the limit.
        let sql = format!(
            "WITH next AS MATERIALIZED \
             (SELECT seq FROM handover {such} ORDER BY seq LIMIT $1{}) \
             DELETE FROM handover WHERE seq IN (SELECT seq FROM next) RETURNING {}, seq",
            self.dialect.for_update_of_free_rows,
            notification::COLUMNS
        );
        let mut transaction = self.begin().await?;
        let rows =
            transaction.all(bind(sqlx::query(AssertSqlSafe(sql)).bind(at_most(limit)))).await?;
        // Read before the commit: rows that cannot be read stay in the table.
        let taken = in_order(&rows, notification::read)?;
        transaction.commit().await?;
        Ok(taken)
    }
}

/// Sorts rows by `seq`: `RETURNING` returns them in any order.
pub(super) fn in_order<T>(
    rows: &[AnyRow],
    read: fn(&AnyRow) -> Result<T, StoreError>,
) -> Result<Vec<T>, StoreError> {
    let numbered = |row: &AnyRow| -> Result<(i64, T), StoreError> {
        Ok((row.try_get("seq").map_err(failed)?, read(row)?))
    };
    let mut all = rows.iter().map(numbered).collect::<Result<Vec<_>, _>>()?;
    all.sort_unstable_by_key(|(seq, _)| *seq);
    Ok(all.into_iter().map(|(_, one)| one).collect())
}
