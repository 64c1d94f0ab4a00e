use async_trait::async_trait;
use doorstep_domain::Notification;
use doorstep_domain::ports::{Handover, StoreError};
use sqlx::any::AnyRow;
use sqlx::{AssertSqlSafe, Row};

use super::accounts::at_most;
use super::error::failed;
use super::{Store, notification};

#[async_trait]
impl Handover for Store {
    async fn leave(&self, waiting: &[Notification]) -> Result<(), StoreError> {
        let mut transaction = self.begin().await?;
        notification::insert(&mut transaction, "handover", None, waiting).await?;
        transaction.commit().await
    }

    async fn take(&self, limit: usize) -> Result<Vec<Notification>, StoreError> {
        // Materialized, so that the rows are chosen once: a planner that chose again for each row it deletes
        // would lock, and delete, more than the limit.
        let sql = format!(
            "WITH next AS MATERIALIZED \
             (SELECT seq FROM handover ORDER BY seq LIMIT $1{}) \
             DELETE FROM handover WHERE seq IN (SELECT seq FROM next) RETURNING {}, seq",
            self.dialect.for_update_of_free_rows,
            notification::COLUMNS
        );
        let mut transaction = self.begin().await?;
        let query = sqlx::query(AssertSqlSafe(sql)).bind(at_most(limit));
        let rows = transaction.all(query).await?;
        // Read before the commit: what cannot be read stays where it is.
        let taken = in_order(&rows, notification::read)?;
        transaction.commit().await?;
        Ok(taken)
    }
}

/// `RETURNING` answers in any order; the column `seq` says in which they came.
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
