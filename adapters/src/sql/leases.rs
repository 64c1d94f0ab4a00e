use std::time::Duration;

use async_trait::async_trait;
use doorstep_domain::ports::{Fence, Lease, StoreError, TakenLease};
use sqlx::{AssertSqlSafe, Row as _};

use super::Store;
use super::error::{failed, unreadable};
use super::run::Write;

#[async_trait]
impl Lease for Store {
    async fn take(
        &self,
        name: &str,
        holder: &str,
        lasts: Duration,
    ) -> Result<Option<TakenLease>, StoreError> {
        let now = self.dialect.now_micros;
        let sql = format!(
            "INSERT INTO leases (name, holder, fence, held_until, note) \
             VALUES ($1, $2, 1, {now} + $3, '') \
             ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, \
             fence = leases.fence + 1, held_until = excluded.held_until \
             WHERE leases.held_until < {now} RETURNING fence, note"
        );
        let query = sqlx::query(AssertSqlSafe(sql)).bind(name).bind(holder).bind(micros(lasts));
        let mut transaction = self.begin().await?;
        let Some(row) = transaction.optional(query).await? else { return Ok(None) };
        transaction.commit().await?;
        let fence: i64 = row.try_get(0).map_err(failed)?;
        let fence = u64::try_from(fence).map_err(|e| unreadable("leases, fence", e))?;
        Ok(Some(TakenLease { fence: Fence(fence), note: row.try_get(1).map_err(failed)? }))
    }

    async fn renew(
        &self,
        name: &str,
        fence: Fence,
        note: &str,
        lasts: Duration,
    ) -> Result<bool, StoreError> {
        let now = self.dialect.now_micros;
        let sql = format!(
            "UPDATE leases SET held_until = {now} + $1, note = $2 \
             WHERE name = $3 AND fence = $4 AND held_until >= {now}"
        );
        let (name, note) = (name.to_owned(), note.to_owned());
        let renewed = self.execute(|| {
            sqlx::query(AssertSqlSafe(sql.as_str()))
                .bind(micros(lasts))
                .bind(note.clone())
                .bind(name.clone())
                .bind(number(fence))
        });
        Ok(renewed.await? == 1)
    }

    async fn release(&self, name: &str, fence: Fence, note: &str) -> Result<(), StoreError> {
        let sql = "UPDATE leases SET held_until = 0, note = $1 WHERE name = $2 AND fence = $3";
        let (name, note) = (name.to_owned(), note.to_owned());
        self.execute(|| sqlx::query(sql).bind(note.clone()).bind(name.clone()).bind(number(fence)))
            .await?;
        Ok(())
    }
}

impl Store {
    /// Whether the lease is held with this number now. The row is not locked: a holder that is held up in the middle of
    /// its transaction must not keep others from taking the lease.
    pub(super) async fn holds_lease(
        &self,
        transaction: &mut Write,
        name: &str,
        fence: Fence,
    ) -> Result<bool, StoreError> {
        let sql = format!(
            "SELECT fence FROM leases WHERE name = $1 AND fence = $2 AND held_until >= {}",
            self.dialect.now_micros
        );
        let query = sqlx::query(AssertSqlSafe(sql)).bind(name).bind(number(fence));
        Ok(transaction.optional(query).await?.is_some())
    }
}

fn micros(lasts: Duration) -> i64 {
    i64::try_from(lasts.as_micros()).unwrap_or(i64::MAX)
}

fn number(fence: Fence) -> i64 {
    i64::try_from(fence.0).unwrap_or(i64::MAX)
}
