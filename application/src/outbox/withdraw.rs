//! Taking rows back that delivery does not know yet.

use std::sync::Arc;

use doorstep_domain::ports::{NotificationSource, SourceError, Withdrawal, Written};

use super::Unended;
use super::in_transit::{InTransit, Stage};
use crate::publishing::Unsent;

/// How many rows are taken back at a time.
const BATCH: usize = 1_000;

/// Takes back what a backend wrote to its outbox, on whichever node.
#[derive(Clone)]
pub struct Withdrawals {
    /// The outbox.
    pub source: Arc<dyn NotificationSource>,
    /// What this node's consumer has read of it.
    pub in_transit: Arc<InTransit>,
    /// What of it is in this node's delivery.
    pub unended: Arc<Unended>,
}

opaque!(Withdrawals);

/// Some rows that were taken back.
pub(crate) struct Withdrawn {
    pub(crate) rows: Vec<Unsent>,
    /// There may be more.
    pub(crate) more: bool,
}

impl Withdrawals {
    /// Takes back some of what matches, but for what is in this node's delivery. If it fails, it has taken back nothing.
    ///
    /// Rows that another node has accepted are that node's. If there are any and this node has nothing to take back, it
    /// says that it cannot know.
    pub(crate) async fn withdraw(&self, which: &Withdrawal) -> Result<Withdrawn, SourceError> {
        let mut transit = self.in_transit.lock().await;
        let waiting = self.source.withdraw(which, BATCH).await?;
        let mut more = waiting.len() >= BATCH;
        let mut rows: Vec<Unsent> =
            waiting.into_iter().filter_map(|row| unsent(row, false)).collect();

        let mut places = Vec::new();
        transit.rows.retain(|row| {
            let (draft, id) = (&row.draft, row.id);
            // What delivery has already is taken back there.
            let taken = which.matches(id, &draft.user_id, draft.topic.as_ref())
                && !self.unended.contains(id);
            if taken {
                places.push(row.place);
                let (user_id, kind) = (draft.user_id.clone(), draft.kind.clone());
                let (age, pushed) = (row.since.elapsed(), row.is_taken_up);
                let (whom, trace) = (Some((user_id, kind)), draft.trace);
                rows.push(Unsent { id, whom, age, pushed, trace });
            }
            !taken
        });
        self.unended.withdrawn(places);

        match self.of_earlier_consumers(which, transit.stage).await {
            Ok(earlier) => {
                more |= earlier.len() >= BATCH;
                rows.extend(earlier.into_iter().filter_map(|row| unsent(row, true)));
            }
            Err(error) if rows.is_empty() => return Err(error),
            // What was taken back is told first. The next call meets the error again.
            Err(_) => more = true,
        }
        Ok(Withdrawn { rows, more })
    }

    /// What was accepted and did not come through here. It may have been delivered.
    async fn of_earlier_consumers(
        &self,
        which: &Withdrawal,
        stage: Stage,
    ) -> Result<Vec<Written>, SourceError> {
        let after = match stage {
            Stage::Consuming => return Ok(Vec::new()),
            Stage::TakingUp { after, .. } => after,
            Stage::Idle => 0,
        };
        let mut rows = self.source.accepted_of(which, after, BATCH).await?;
        rows.retain(|row| row.id.is_none_or(|id| !self.unended.contains(id)));
        match stage {
            Stage::TakingUp { fence, .. } if !rows.is_empty() => {
                let places: Vec<u64> = rows.iter().map(|row| row.place).collect();
                self.source.forget(fence, &places).await?;
            }
            Stage::Idle if !rows.is_empty() => {
                let why = "another consumer of the outbox has accepted it, or had when it stopped";
                return Err(SourceError::Unavailable(why.to_owned()));
            }
            _ => {}
        }
        Ok(rows)
    }
}

/// A row without a valid user or kind is no notification: it is taken back, and has no outcome.
fn unsent(row: Written, pushed: bool) -> Option<Unsent> {
    let user_id = row.user_id.and_then(|user_id| user_id.parse().ok());
    let whom = user_id.zip(row.kind.and_then(|kind| kind.parse().ok()));
    let trace = row.traceparent.and_then(|text| text.parse().ok());
    Some(Unsent { id: row.id?, whom, age: row.age, pushed, trace })
}
