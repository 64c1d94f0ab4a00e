use std::collections::HashSet;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use doorstep_domain::NotificationId;
use doorstep_domain::ports::{Bad, Fence, SourceError, Written};
use tokio::time::Instant;
use tracing::Instrument as _;

use super::consumer::{BATCH, Consumer};
use super::in_transit::Stage;
use super::judge::judge;
use crate::delivery::{Acceptance, Policy};
use crate::publishing::{Draft, Progress, Rejection};

/// The pause while the node takes nothing.
const PAUSE: Duration = Duration::from_millis(100);

/// A row that is a notification.
pub(super) struct Good {
    pub(super) place: u64,
    pub(super) draft: Draft,
    pub(super) id: NotificationId,
    /// Since when it exists.
    pub(super) since: Instant,
    /// An earlier consumer had accepted it, and may have pushed it.
    pub(super) is_taken_up: bool,
}

/// Why the node takes nothing at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Full {
    Node,
    Inbox,
}

impl Consumer {
    /// Handles rows that wait: puts the bad ones aside, moves the others to the accepted ones, and publishes these.
    pub(super) async fn take(&self, fence: Fence, rows: Vec<Written>) -> Result<(), SourceError> {
        let (good, bad) = self.sort(rows, false);
        self.put_aside(fence, &bad).await?;
        if good.is_empty() {
            return Ok(());
        }
        let places: Vec<u64> = good.iter().map(|row| row.place).collect();
        let mut transit = self.parts.in_transit.lock().await;
        let moved: HashSet<u64> =
            self.parts.source.accept(fence, &places).await?.into_iter().collect();
        transit.rows.extend(good.into_iter().filter(|row| moved.contains(&row.place)));
        drop(transit);
        self.publish(fence).await
    }

    /// Publishes some rows that an earlier consumer had accepted, those behind the place `after`. Returns how many, and
    /// the place of the last one; `None` if there are no more.
    pub(super) async fn take_up(
        &self,
        fence: Fence,
        after: u64,
    ) -> Result<Option<(usize, u64)>, SourceError> {
        let mut transit = self.parts.in_transit.lock().await;
        transit.stage = Stage::TakingUp { fence, after };
        let rows = self.parts.source.accepted(after, BATCH).await?;
        let Some(after) = rows.last().map(|row| row.place) else {
            transit.stage = Stage::Consuming;
            return Ok(None);
        };
        let count = rows.len();
        transit.stage = Stage::TakingUp { fence, after };
        // The rules that judge them may have changed since.
        let (good, bad) = self.sort(rows, true);
        transit.rows.extend(good);
        drop(transit);
        self.put_aside(fence, &bad).await?;
        self.publish(fence).await?;
        Ok(Some((count, after)))
    }

    fn sort(&self, rows: Vec<Written>, is_taken_up: bool) -> (Vec<Good>, Vec<Bad>) {
        let (mut good, mut bad) = (Vec::with_capacity(rows.len()), Vec::new());
        let now = Instant::now();
        for row in rows {
            match (judge(&row, self.parts.bounds), row.id) {
                (Ok(draft), Some(id)) => {
                    let since = now.checked_sub(row.age).unwrap_or(now);
                    good.push(Good { place: row.place, draft, id, since, is_taken_up });
                }
                (Ok(_), None) => {}
                (Err(errors), id) => {
                    tracing::warn!(
                        place = row.place,
                        notification = id.map(tracing::field::display),
                        errors = ?errors.errors,
                        "a row of the outbox is no notification; it is put aside"
                    );
                    self.parts.publishing.count_invalid();
                    bad.push(errors);
                }
            }
        }
        (good, bad)
    }

    async fn put_aside(&self, fence: Fence, bad: &[Bad]) -> Result<(), SourceError> {
        if bad.is_empty() {
            return Ok(());
        }
        self.parts.source.reject(fence, bad).await?;
        self.state.rejected.fetch_add(bad.len().try_into().unwrap_or(u64::MAX), Relaxed);
        Ok(())
    }

    /// Publishes what is in transit, in order. Retries a row that the node refuses until it is accepted.
    async fn publish(&self, fence: Fence) -> Result<(), SourceError> {
        let mut said = None;
        loop {
            self.still_mine()?;
            let mut transit = self.parts.in_transit.lock().await;
            let Some(row) = transit.rows.front() else { return Ok(()) };
            let Err(full) = self.offer(fence, row).await? else {
                transit.rows.pop_front();
                continue;
            };
            drop(transit);
            if said.replace(full) != Some(full) {
                tracing::warn!(reason = ?full, "the node takes nothing; the outbox waits");
            }
            self.forget(fence).await?;
            tokio::select! {
                () = tokio::time::sleep(PAUSE) => {}
                // The rest stays where the next consumer looks first.
                () = self.parts.stopping.given() => return Ok(()),
            }
        }
    }

    /// Publishes one row, if the node takes it.
    async fn offer(&self, fence: Fence, row: &Good) -> Result<Result<(), Full>, SourceError> {
        let Good { place, draft, id, since, .. } = row;
        let kept = self.parts.publishing.policy_of(draft) == Policy::Inbox;
        if !kept && !self.parts.publishing.has_room(draft) {
            return Ok(Err(Full::Node));
        }
        self.parts.unended.begin(*id, *place);
        let trace_id = draft.trace.map(|trace| tracing::field::display(trace.trace_id()));
        let span = tracing::info_span!("outbox", trace_id);
        let published =
            self.parts.publishing.publish_late(draft.clone(), since.elapsed()).instrument(span);
        match published.await.state {
            Ok(Acceptance::Ended(_)) => self.parts.unended.end(*id),
            Ok(_) if kept || self.has_ended(*id) => self.parts.unended.end(*id),
            Ok(_) => {}
            Err(rejection) => {
                self.parts.unended.take_back(*id, *place);
                return self.refused(fence, *place, rejection).await;
            }
        }
        Ok(Ok(()))
    }

    /// A repeat of an id gets the first answer, even if the notification has ended since.
    fn has_ended(&self, id: NotificationId) -> bool {
        let record = self.parts.publishing.look_up(id);
        record.is_some_and(|record| matches!(record.progress, Progress::Ended(..)))
    }

    async fn refused(
        &self,
        fence: Fence,
        place: u64,
        rejection: Rejection,
    ) -> Result<Result<(), Full>, SourceError> {
        match rejection {
            Rejection::NodeFull | Rejection::Stopping | Rejection::ClusterAway => {
                Ok(Err(Full::Node))
            }
            Rejection::NoInbox | Rejection::InboxAway => Ok(Err(Full::Inbox)),
            Rejection::MailboxFull | Rejection::TooLarge => {
                let errors = vec![(String::new(), rejection.as_str().to_owned())];
                self.put_aside(fence, &[Bad { place, errors }]).await.map(Ok)
            }
        }
    }
}
