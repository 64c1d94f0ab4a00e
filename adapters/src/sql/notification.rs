//! Notifications as rows of the inbox and the handover.

use std::time::Duration;

use doorstep_domain::ports::StoreError;
use doorstep_domain::{Notification, Payload, Timestamp, Ttl};
use sqlx::any::AnyRow;
use sqlx::{AssertSqlSafe, Row};

use super::batch::{pieces, places};
use super::error::{failed, unreadable};
use super::run::Write;
use super::text;

/// The columns that [`read`] expects first, in this order.
pub(super) const COLUMNS: &str = "id, user_id, kind, topic, payload, created_at, ttl, traceparent";

/// Adds the notifications to the table in this order; existing rows are not changed. `extra` is an additional
/// column, which gets the same value in each row.
pub(super) async fn insert(
    transaction: &mut Write,
    table: &'static str,
    extra: Option<(&'static str, &'static str)>,
    notifications: &[Notification],
) -> Result<(), StoreError> {
    let (more, columns) = match extra {
        Some((column, _)) => (format!(", {column}"), 9),
        None => (String::new(), 8),
    };
    for piece in pieces(notifications) {
        let places = places(1, piece.len(), columns);
        let sql = format!(
            "INSERT INTO {table} ({COLUMNS}{more}) VALUES {places} ON CONFLICT (id) DO NOTHING"
        );
        let mut query = sqlx::query(AssertSqlSafe(sql));
        for n in piece {
            query = query
                .bind(n.id.to_string())
                .bind(text::kept(&n.user_id.to_string()))
                .bind(n.kind.as_str())
                .bind(n.topic.as_ref().map(|topic| topic.as_str().to_owned()))
                .bind(n.payload.as_str())
                .bind(n.created_at.as_micros())
                .bind(n.ttl.map(|ttl| i64::from(ttl.as_millis())))
                .bind(n.trace.map(|trace| trace.to_string()));
            if let Some((_, value)) = extra {
                query = query.bind(value);
            }
        }
        transaction.execute(query).await?;
    }
    Ok(())
}

/// Reads a notification from [`COLUMNS`].
pub(super) fn read(row: &AnyRow) -> Result<Notification, StoreError> {
    let id: &str = row.try_get(0).map_err(failed)?;
    let bad = |what: &str, why: &dyn std::fmt::Display| {
        unreadable(&format!("notification {id}, {what}"), why)
    };
    let user_id: String = row.try_get(1).map_err(failed)?;
    let kind: &str = row.try_get(2).map_err(failed)?;
    let topic: Option<String> = row.try_get(3).map_err(failed)?;
    let payload: &str = row.try_get(4).map_err(failed)?;
    let created_at = row.try_get(5).map_err(failed)?;
    let ttl: Option<i64> = row.try_get(6).map_err(failed)?;
    let trace: Option<String> = row.try_get(7).map_err(failed)?;
    Ok(Notification {
        id: id.parse().map_err(|e| bad("id", &e))?,
        user_id: text::unkept(user_id).parse().map_err(|e| bad("user_id", &e))?,
        kind: kind.parse().map_err(|e| bad("kind", &e))?,
        topic: topic.map(|t| t.parse()).transpose().map_err(|e| bad("topic", &e))?,
        payload: Payload::parse(payload).map_err(|e| bad("payload", &e))?,
        created_at: Timestamp::from_micros(created_at),
        ttl: ttl.map(|millis| read_ttl(millis).ok_or_else(|| bad("ttl", &millis))).transpose()?,
        // Not worth a notification.
        trace: trace.and_then(|trace| trace.parse().ok()),
    })
}

fn read_ttl(millis: i64) -> Option<Ttl> {
    Ttl::new(Duration::from_millis(u64::try_from(millis).ok()?))
}
