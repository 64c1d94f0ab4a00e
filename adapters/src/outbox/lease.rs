//! The lease: one row, on the time of the database.

use doorstep_domain::ports::{Fence, SourceError};
use sqlx::Row as _;

use super::error::OutboxError;
use super::session::{Commit, DatabaseSession};
use super::wake::CHANNEL;

/// How long a lease lasts after it was taken or extended.
const LASTS: &str = "interval '5 s'";

/// Takes the lease for this consumer, if nobody holds it.
pub(super) async fn take(
    session: &DatabaseSession,
    name: &str,
) -> Result<Option<Fence>, SourceError> {
    let take = format!(
        "UPDATE doorstep.consumer SET fence = fence + 1, holder = '{name}', \
         held_until = clock_timestamp() + {LASTS} \
         WHERE held_until < clock_timestamp() RETURNING fence::text"
    );
    let rows = session.run(Commit::Durable, &take).await?;
    let Some(row) = rows.first() else { return Ok(None) };
    let fence: String = row.try_get(0).map_err(OutboxError::from)?;
    Ok(Some(Fence(fence.parse().unwrap_or(0))))
}

/// Extends it, and sends this proof that LISTEN works.
pub(super) async fn renew(
    session: &DatabaseSession,
    fence: Fence,
    proof: Option<String>,
) -> Result<(), SourceError> {
    let mut extend = format!(
        "UPDATE doorstep.consumer SET held_until = clock_timestamp() + {LASTS} \
         WHERE fence = {} RETURNING 1",
        fence.0
    );
    if let Some(proof) = &proof {
        extend = format!("{extend}; SELECT pg_notify('{CHANNEL}', '{proof}')");
    }
    let rows = session.run(Commit::Fast, &extend).await?;
    // One row of the update, and one of the notification.
    if rows.len() == 1 + usize::from(proof.is_some()) {
        Ok(())
    } else {
        Err(SourceError::LeaseLost)
    }
}

/// Gives it back.
pub(super) async fn release(session: &DatabaseSession, fence: Fence) -> Result<(), SourceError> {
    let end =
        format!("UPDATE doorstep.consumer SET held_until = '-infinity' WHERE fence = {}", fence.0);
    session.run(Commit::Fast, &end).await?;
    Ok(())
}
