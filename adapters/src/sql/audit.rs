use async_trait::async_trait;
use doorstep_domain::EntryKind;
use doorstep_domain::ports::{Audit, AuditReport, StoreError};
use sqlx::{Any, AssertSqlSafe, Row, Transaction};

use super::Store;
use super::accounts::at_most;
use super::error::failed;

#[async_trait]
impl Audit for Store {
    async fn audit(&self) -> Result<AuditReport, StoreError> {
        // All checks see one moment, or a registration between two of them would look like a fault.
        let begin = self.readers.begin_with(self.dialect.begin_snapshot);
        let mut snapshot = begin.await.map_err(failed)?;
        if let Some(sql) = self.dialect.take_your_time {
            sqlx::query(sql).execute(&mut *snapshot).await.map_err(failed)?;
        }
        let users = count(&mut snapshot, "SELECT COUNT(*) FROM users").await?;
        let entries = count(&mut snapshot, "SELECT COUNT(*) FROM ledger").await?;
        let mut findings = Vec::new();
        for check in checks() {
            let room = at_most(AuditReport::MAX_FINDINGS - findings.len());
            let query = sqlx::query(AssertSqlSafe(format!("{check} LIMIT $1"))).bind(room);
            for row in query.fetch_all(&mut *snapshot).await.map_err(failed)? {
                findings.push(row.try_get(0).map_err(failed)?);
            }
        }
        Ok(AuditReport { users, entries, findings })
    }
}

/// What must never be found. Each selects a sentence about every case; amounts are in minor units.
///
/// Sums are taken and compared in the database, exactly: PostgreSQL's are wider than 64 bits, and SQLite's
/// fail rather than wrap.
fn checks() -> [String; 6] {
    let gift = EntryKind::WelcomeGift.as_str();
    let kinds: Vec<_> = EntryKind::ALL.iter().map(|kind| format!("'{}'", kind.as_str())).collect();
    let kinds = kinds.join(", ");
    [
        "SELECT 'user ' || id || ' has a balance below zero: ' || balance \
         FROM users WHERE balance < 0"
            .to_owned(),
        "SELECT 'user ' || users.id || ' has a balance of ' || users.balance \
         || ', but entries of ' || COALESCE(SUM(ledger.amount), 0) \
         FROM users LEFT JOIN ledger ON ledger.user_id = users.id \
         GROUP BY users.id, users.balance \
         HAVING users.balance <> COALESCE(SUM(ledger.amount), 0)"
            .to_owned(),
        format!(
            "SELECT 'user ' || users.id || ' has ' || COUNT(ledger.id) || ' welcome gifts, not one' \
             FROM users LEFT JOIN ledger ON ledger.user_id = users.id AND ledger.kind = '{gift}' \
             GROUP BY users.id HAVING COUNT(ledger.id) <> 1"
        ),
        format!(
            "SELECT 'welcome gift ' || id || ' of user ' || user_id || ' references ' || reference \
             FROM ledger WHERE kind = '{gift}' AND reference <> user_id"
        ),
        "SELECT 'ledger entry ' || ledger.id || ' belongs to ' || ledger.user_id \
         || ', who is no user' \
         FROM ledger LEFT JOIN users ON users.id = ledger.user_id WHERE users.id IS NULL"
            .to_owned(),
        format!(
            "SELECT 'ledger entry ' || id || ' is of the unknown kind ' || kind \
             FROM ledger WHERE kind NOT IN ({kinds})"
        ),
    ]
}

async fn count(
    snapshot: &mut Transaction<'static, Any>,
    sql: &'static str,
) -> Result<u64, StoreError> {
    let row = sqlx::query(sql).fetch_one(&mut **snapshot).await.map_err(failed)?;
    let count: i64 = row.try_get(0).map_err(failed)?;
    Ok(u64::try_from(count).unwrap_or(0))
}
