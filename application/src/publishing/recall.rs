use std::time::Duration;

use doorstep_domain::ports::StoreError;
use doorstep_domain::{
    Kind, Notification, NotificationId, Outcome, Payload, Topic, TraceParent, UserId,
};

use super::records::Begun;
use super::{Progress, Publishing, PublishingParts};
use crate::delivery::{Acceptance, Recall};

/// How long a recall waits for an outcome that is being told at this moment.
const ENDING: Duration = Duration::from_secs(2);

/// A notification that was taken back before delivery had it.
pub(crate) struct Unsent {
    pub(crate) id: NotificationId,
    /// Whom it was for, and its kind; `None` if it was no notification.
    pub(crate) whom: Option<(UserId, Kind)>,
    /// How long ago it was made.
    pub(crate) age: Duration,
    /// Another node may have pushed it.
    pub(crate) pushed: bool,
    /// The trace that it belongs to.
    pub(crate) trace: Option<TraceParent>,
}

impl Publishing {
    /// Takes back one notification, and returns what is known of it: that it is recalled now, or the outcome that
    /// it had before. `None` if nothing is known. A repeat gets the same.
    pub(crate) async fn recall(&self, id: NotificationId) -> Result<Option<Recall>, StoreError> {
        let PublishingParts { delivery, records, clock, .. } = &*self.parts;
        if let Some(recall) = delivery.recall(id).await? {
            records.recalled(id, recall.pushed);
            return Ok(Some(recall));
        }
        let known = records.look_up(id, clock.now());
        if known.is_some_and(|record| matches!(record.progress, Progress::Open(_))) {
            // It is ending at this moment.
            self.wait_for([id], ENDING).await;
        }
        let known = records.look_up(id, clock.now());
        Ok(known.and_then(|record| match record.progress {
            Progress::Ended(outcome, _) => {
                let pushed = outcome != Outcome::Rejected && records.was_pushed(id);
                Some(Recall { outcome, pushed })
            }
            Progress::Open(_) => None,
        }))
    }

    /// Takes back everything of this user that has not ended, or everything of one topic. Returns how many.
    pub(crate) async fn recall_all(
        &self,
        user: &UserId,
        topic: Option<&Topic>,
    ) -> Result<usize, StoreError> {
        self.parts.delivery.recall_all(user, topic).await
    }

    /// These were taken back before they were published: tells their outcome as if they had been published and
    /// recalled. One whose id was published is not told again.
    pub(crate) async fn recalled_unsent(&self, unsent: Vec<Unsent>) {
        let PublishingParts { delivery, records, clock, .. } = &*self.parts;
        let now = clock.now();
        let mut recalled = Vec::new();
        for Unsent { id, whom, age, pushed, trace } in unsent {
            let Some((user_id, kind)) = whom else { continue };
            let Begun::New(entry) = records.begin(id, &user_id, now) else { continue };
            if delivery.state_of(&user_id, id).is_some() {
                continue;
            }
            entry.accepted(Acceptance::Waiting, now);
            records.recalled(id, pushed);
            let (payload, created_at) = (Payload::null(), now - age);
            let (topic, ttl) = (None, None);
            let n = Notification { id, user_id, kind, topic, payload, created_at, ttl, trace };
            recalled.push((n, pushed));
        }
        delivery.recalled(recalled).await;
    }
}
