//! What is wrong with sessions.

use std::time::Duration;

use async_trait::async_trait;
use doorstep_domain::ports::{Accounts, Sessions, StoreError};
use doorstep_domain::{Session, Timestamp, TokenHash};

use super::{Flaw, Place, Wrong, WrongAdapter, with_flaws};
use crate::{durable_sessions, sessions};

/// What each does, and the promise that it breaks.
const ALL: [(Flaw, &str, &str); 11] = [
    (Flaw::ForgetsTheFirst, "stores no session at a registration", "session of a registration"),
    (Flaw::RoundsExpiry, "rounds the end of a session to milliseconds", "session found"),
    (Flaw::FindsAtExpiry, "finds a session at the time when it expires", "session expired"),
    (Flaw::FindsTheLatest, "finds the latest session by an unknown token", "session unknown"),
    (Flaw::ClosesAllOfTheUser, "closes all sessions of a user", "session closed"),
    (Flaw::PurgesAnHourMore, "purges what expires within an hour", "session purge"),
    (Flaw::PurgesNothing, "purges nothing", "session purge"),
    (Flaw::CountsAllAsPurged, "counts all sessions as purged", "session purge count"),
    (Flaw::OpensForNobody, "returns success for a session of nobody", "session of nobody"),
    (Flaw::LosesAtReopening, "keeps sessions in memory", "session durable"),
    (Flaw::OpensAgainAtReopening, "keeps in memory what was closed", "session durable"),
];

pub(super) fn all() -> Vec<WrongAdapter> {
    with_flaws(&ALL, |flaw| async move {
        let mut place = Place(Wrong::with(flaw));
        sessions(place.0.clone(), place.0.clone()).await;
        durable_sessions(&mut place).await;
    })
}

#[async_trait]
impl Sessions for Wrong {
    async fn open(&self, session: &Session) -> Result<(), StoreError> {
        let mut session = session.clone();
        self.state().sessions.push(session.clone());
        self.state().known.push(session.token);
        if self.is(Flaw::RoundsExpiry) && session.expires_at != Timestamp::MAX {
            session.expires_at = Timestamp::from_micros(session.expires_at.as_millis() * 1000);
        }
        if self.is(Flaw::OpensForNobody) && self.inner.user(&session.user_id).await?.is_none() {
            return Ok(());
        }
        Sessions::open(&self.inner, &session).await
    }

    async fn find(&self, token: &TokenHash, now: Timestamp) -> Result<Option<Session>, StoreError> {
        match self.flaw {
            Flaw::FindsAtExpiry => {
                Sessions::find(&self.inner, token, now - Duration::from_micros(1)).await
            }
            Flaw::FindsTheLatest if !self.state().known.contains(token) => {
                Ok(self.state().sessions.last().cloned())
            }
            _ => Sessions::find(&self.inner, token, now).await,
        }
    }

    async fn close(&self, token: &TokenHash) -> Result<(), StoreError> {
        let all = self.state().sessions.clone();
        let Some(closed) = all.iter().find(|session| session.token == *token) else {
            return Sessions::close(&self.inner, token).await;
        };
        self.state().closed.push(closed.clone());
        let theirs = |session: &&Session| {
            let same_user = session.user_id == closed.user_id;
            session.token == *token || (same_user && self.is(Flaw::ClosesAllOfTheUser))
        };
        for session in all.iter().filter(theirs) {
            Sessions::close(&self.inner, &session.token).await?;
        }
        Ok(())
    }

    async fn purge(&self, now: Timestamp) -> Result<u64, StoreError> {
        match self.flaw {
            Flaw::PurgesAnHourMore => self.inner.purge(now + Duration::from_hours(1)).await,
            Flaw::PurgesNothing => Ok(0),
            Flaw::CountsAllAsPurged => {
                self.inner.purge(now).await?;
                Ok(self.state().sessions.len() as u64)
            }
            _ => self.inner.purge(now).await,
        }
    }
}
