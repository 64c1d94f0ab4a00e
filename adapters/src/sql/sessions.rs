use async_trait::async_trait;
use doorstep_domain::ports::{Sessions, StoreError};
use doorstep_domain::{Session, Timestamp, TokenHash};
use sqlx::Row;

use super::error::{failed, unreadable};
use super::run::Query;
use super::{Store, text};

/// Sessions that one statement deletes: enough to be worth it, and few enough to hold up no other write.
const PURGE: u64 = 5_000;

#[async_trait]
impl Sessions for Store {
    async fn open(&self, session: &Session) -> Result<(), StoreError> {
        let mut transaction = self.begin().await?;
        transaction.execute(insert(session)).await?;
        transaction.commit().await
    }

    async fn find(&self, token: &TokenHash, now: Timestamp) -> Result<Option<Session>, StoreError> {
        let sql = "SELECT user_id, expires_at FROM sessions WHERE token = $1 AND expires_at > $2";
        let query = || sqlx::query(sql).bind(token.as_bytes().as_slice()).bind(now.as_micros());
        let Some(row) = self.row(query).await? else { return Ok(None) };
        let user_id: String = row.try_get(0).map_err(failed)?;
        Ok(Some(Session {
            token: *token,
            user_id: text::unkept(user_id)
                .parse()
                .map_err(|e| unreadable("sessions, user_id", e))?,
            expires_at: Timestamp::from_micros(row.try_get(1).map_err(failed)?),
        }))
    }

    async fn close(&self, token: &TokenHash) -> Result<(), StoreError> {
        let sql = "DELETE FROM sessions WHERE token = $1";
        self.execute(|| sqlx::query(sql).bind(token.as_bytes().as_slice())).await?;
        Ok(())
    }

    async fn purge(&self, now: Timestamp) -> Result<u64, StoreError> {
        let sql = "DELETE FROM sessions WHERE token IN \
                   (SELECT token FROM sessions WHERE expires_at <= $1 LIMIT $2)";
        let most = i64::try_from(PURGE).unwrap_or(i64::MAX);
        let mut purged = 0;
        loop {
            let some = self.execute(|| sqlx::query(sql).bind(now.as_micros()).bind(most)).await?;
            purged += some;
            if some < PURGE {
                return Ok(purged);
            }
        }
    }
}

/// The statement that stores a session, also used by registrations.
pub(super) fn insert(session: &Session) -> Query<'static> {
    sqlx::query("INSERT INTO sessions (token, user_id, expires_at) VALUES ($1, $2, $3)")
        .bind(session.token.as_bytes().as_slice())
        .bind(text::kept(&session.user_id.to_string()))
        .bind(session.expires_at.as_micros())
}
