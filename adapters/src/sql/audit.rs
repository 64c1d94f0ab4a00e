use async_trait::async_trait;
use doorstep_domain::ports::{Audit, AuditReport, StoreError};
use doorstep_domain::{EntryKind, RewardRule, RewardRules};
use sqlx::{Any, AssertSqlSafe, Row, Transaction};

use super::Store;
use super::accounts::at_most;
use super::error::failed;
use super::positions::earned_sql;

#[async_trait]
impl Audit for Store {
    async fn audit(&self, rules: &RewardRules) -> Result<AuditReport, StoreError> {
        // All checks see one snapshot; otherwise a registration between two of them would look like a fault.
        let begin = self.readers.begin_with(self.dialect.begin_snapshot);
        let mut snapshot = begin.await.map_err(failed)?;
        if let Some(sql) = self.dialect.take_your_time {
            sqlx::query(sql).execute(&mut *snapshot).await.map_err(failed)?;
        }
        let users = count(&mut snapshot, "SELECT COUNT(*) FROM users").await?;
        let entries = count(&mut snapshot, "SELECT COUNT(*) FROM ledger").await?;
        let positions = count(&mut snapshot, "SELECT COUNT(*) FROM positions").await?;
        let mut findings = Vec::new();
        let of_rules = rules.iter().map(owed);
        for check in balances().into_iter().chain(trades()).chain(rewards()).chain(of_rules) {
            let room = at_most(AuditReport::MAX_FINDINGS - findings.len());
            let query = sqlx::query(AssertSqlSafe(format!("{check} LIMIT $1"))).bind(room);
            for row in query.fetch_all(&mut *snapshot).await.map_err(failed)? {
                findings.push(row.try_get(0).map_err(failed)?);
            }
        }
        Ok(AuditReport { users, entries, positions, findings })
    }
}

// Checks for states that must never occur. Each selects one sentence per case; amounts are in minor units.
//
// Sums are computed and compared in the database, exactly: PostgreSQL's are wider than 64 bits, and SQLite's fail
// rather than wrap.

/// Balances are the sums of their entries, and all money together equals rewards plus gains.
fn balances() -> Vec<String> {
    let rewards = words(EntryKind::ALL.into_iter().filter(|kind| kind.is_reward()));
    let kinds = words(EntryKind::ALL);
    vec![
        "SELECT 'user ' || id || ' has a balance below zero: ' || balance \
         FROM users WHERE balance < 0"
            .to_owned(),
        "SELECT 'user ' || users.id || ' has a balance of ' || users.balance \
         || ', but entries of ' || COALESCE(SUM(ledger.amount), 0) \
         FROM users LEFT JOIN ledger ON ledger.user_id = users.id \
         GROUP BY users.id, users.balance \
         HAVING users.balance <> COALESCE(SUM(ledger.amount), 0)"
            .to_owned(),
        "SELECT 'ledger entry ' || ledger.id || ' belongs to ' || ledger.user_id \
         || ', who is no user' \
         FROM ledger LEFT JOIN users ON users.id = ledger.user_id WHERE users.id IS NULL"
            .to_owned(),
        format!(
            "SELECT 'ledger entry ' || id || ' is of the unknown kind ' || kind \
             FROM ledger WHERE kind NOT IN ({kinds})"
        ),
        format!(
            "SELECT 'all balances and open positions together are ' || held \
             || ', but rewards and realised gains are ' || given FROM (SELECT \
             (SELECT COALESCE(SUM(balance), 0) FROM users) \
             + (SELECT COALESCE(SUM(cost), 0) FROM positions WHERE closed_at IS NULL) AS held, \
             (SELECT COALESCE(SUM(amount), 0) FROM ledger WHERE kind IN ({rewards})) \
             + (SELECT COALESCE(SUM(realised_pnl), 0) FROM positions WHERE closed_at IS NOT NULL) \
             AS given) AS total WHERE held <> given"
        ),
    ]
}

/// The cost of each position is reserved, each closed position is settled once, and every entry about a position
/// refers to an existing one.
fn trades() -> Vec<String> {
    let opened = EntryKind::PositionOpened.as_str();
    let closed = EntryKind::PositionClosed.as_str();
    let entry_of_position = |kind| {
        format!(
            "LEFT JOIN ledger ON ledger.user_id = positions.user_id \
             AND ledger.kind = '{kind}' AND ledger.reference = positions.id"
        )
    };
    vec![
        format!(
            "SELECT 'position ' || positions.id || ' costs ' || cost || ', but reserved ' \
             || COALESCE(-amount, 0) FROM positions {} WHERE COALESCE(-amount, 0) <> cost",
            entry_of_position(opened)
        ),
        format!(
            "SELECT 'position ' || positions.id || ' was closed with ' || (cost + realised_pnl) \
             || ', but settled with ' || COALESCE(CAST(amount AS TEXT), 'nothing') FROM positions {} \
             WHERE closed_at IS NOT NULL AND (amount IS NULL OR amount <> cost + realised_pnl)",
            entry_of_position(closed)
        ),
        format!(
            "SELECT 'ledger entry ' || ledger.id || ' (' || kind || ') is about ' || reference \
             || ', which is no such position' FROM ledger LEFT JOIN positions \
             ON positions.id = ledger.reference AND positions.user_id = ledger.user_id \
             WHERE (kind = '{opened}' AND positions.id IS NULL) \
             OR (kind = '{closed}' AND positions.closed_at IS NULL)"
        ),
        "SELECT 'user ' || user_id || ' has ' || COUNT(close_number) || ' closed positions, \
         numbered up to ' || MAX(close_number) FROM positions GROUP BY user_id \
         HAVING COUNT(close_number) <> COALESCE(MAX(close_number), 0)"
            .to_owned(),
    ]
}

/// No reward was given for something that does not earn it.
fn rewards() -> Vec<String> {
    let gift = EntryKind::WelcomeGift.as_str();
    let first = EntryKind::FirstClose.as_str();
    let milestone = EntryKind::CloseMilestone.as_str();
    vec![
        format!(
            "SELECT 'welcome gift ' || id || ' of user ' || user_id || ' references ' || reference \
             FROM ledger WHERE kind = '{gift}' AND reference <> user_id"
        ),
        // The number of positions per milestone may have been different in the past.
        format!(
            "SELECT 'reward ' || ledger.id || ' (' || kind || ') of user ' || ledger.user_id \
             || ' was not earned by ' || reference FROM ledger LEFT JOIN positions \
             ON positions.id = ledger.reference AND positions.user_id = ledger.user_id \
             WHERE (kind = '{first}' AND COALESCE(close_number, 0) <> 1) \
             OR (kind = '{milestone}' AND close_number IS NULL)"
        ),
    ]
}

/// The reward of this rule was given once to everybody who earned it. The ledger itself ensures that nothing is
/// rewarded twice: it takes one entry per user, kind and reference.
fn owed(rule: &RewardRule) -> String {
    let reward = rule.reward.as_str();
    match earned_sql(rule.earned_by) {
        None => format!(
            "SELECT 'user ' || users.id || ' has ' || COUNT(ledger.id) || ' rewards of the kind \
             {reward}, not one' \
             FROM users LEFT JOIN ledger ON ledger.user_id = users.id AND ledger.kind = '{reward}' \
             GROUP BY users.id HAVING COUNT(ledger.id) <> 1"
        ),
        Some(earned) => format!(
            "SELECT 'user ' || positions.user_id || ' earned a {reward} by ' || positions.id \
             || ' and does not have it' FROM positions WHERE {earned} AND NOT EXISTS \
             (SELECT 1 FROM ledger WHERE ledger.user_id = positions.user_id \
             AND ledger.kind = '{reward}' AND ledger.reference = positions.id)"
        ),
    }
}

fn words(kinds: impl IntoIterator<Item = EntryKind>) -> String {
    let words: Vec<_> = kinds.into_iter().map(|kind| format!("'{}'", kind.as_str())).collect();
    words.join(", ")
}

async fn count(
    snapshot: &mut Transaction<'static, Any>,
    sql: &'static str,
) -> Result<u64, StoreError> {
    let row = sqlx::query(sql).fetch_one(&mut **snapshot).await.map_err(failed)?;
    let count: i64 = row.try_get(0).map_err(failed)?;
    Ok(u64::try_from(count).unwrap_or(0))
}
