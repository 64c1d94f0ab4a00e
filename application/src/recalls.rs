//! A backend takes back what it sent, wherever it is: in delivery, or still in the backend's outbox.

use std::time::Duration;

use doorstep_domain::ports::{SourceError, StoreError, Withdrawal};
use doorstep_domain::{NotificationId, Outcome, Topic, UserId};

use crate::delivery::Recall;
use crate::outbox::Withdrawals;
use crate::publishing::Publishing;

/// How long the outbox may take. What was begun then goes on to its end.
const PATIENCE: Duration = Duration::from_secs(2);

/// Takes notifications back. Cheap to clone.
#[derive(Clone)]
pub struct Recalls {
    publishing: Publishing,
    outbox: Option<Withdrawals>,
}

opaque!(Recalls);

impl Recalls {
    /// Takes back what `publishing` published, and what waits in the outbox, if there is one.
    pub fn new(publishing: Publishing, outbox: Option<Withdrawals>) -> Self {
        Self { publishing, outbox }
    }

    /// Takes back one notification, and returns what is known of it: that it is recalled now, or the outcome that it had
    /// before. `None` if nothing is known. A repeat gets the same.
    ///
    /// An error of the outbox means that it is not known whether the notification is there: try again.
    pub async fn one(&self, id: NotificationId) -> Result<Option<Recall>, StoreError> {
        // What is in memory can be taken back while the database of the outbox is away.
        if let Some(recall) = self.publishing.recall(id).await? {
            return Ok(Some(recall));
        }
        let Some(outbox) = &self.outbox else { return Ok(None) };
        let taken = self.withdraw(outbox, Withdrawal::One(id)).await?;
        if let Some(pushed) = taken.pushed {
            return Ok(Some(Recall { outcome: Outcome::Recalled, pushed }));
        }
        // It may have come from the outbox to delivery since.
        self.publishing.recall(id).await
    }

    /// Takes back everything of this user that has not ended, or everything of one topic. Returns how many.
    ///
    /// After an error some may have been taken back, and their outcomes told: try again for the rest.
    pub async fn all(&self, user: &UserId, topic: Option<&Topic>) -> Result<usize, StoreError> {
        let mut count = 0;
        // In this order, nothing can come from the outbox to delivery behind its back.
        if let Some(outbox) = &self.outbox {
            let which = Withdrawal::AllOf(user.clone(), topic.cloned());
            loop {
                let taken = self.withdraw(outbox, which.clone()).await?;
                count += taken.count;
                if !taken.more {
                    break;
                }
            }
        }
        Ok(count + self.publishing.recall_all(user, topic).await?)
    }

    /// In a task of its own: outcomes are told also when the caller has stopped waiting.
    async fn withdraw(&self, outbox: &Withdrawals, which: Withdrawal) -> Result<Taken, StoreError> {
        let (publishing, outbox) = (self.publishing.clone(), outbox.clone());
        let work = tokio::spawn(async move {
            let withdrawn = outbox.withdraw(&which).await?;
            let taken = Taken {
                count: withdrawn.rows.len(),
                pushed: withdrawn.rows.iter().map(|row| row.pushed).reduce(|a, b| a || b),
                more: withdrawn.more,
            };
            publishing.recalled_unsent(withdrawn.rows).await;
            Ok::<_, SourceError>(taken)
        });
        match tokio::time::timeout(PATIENCE, work).await {
            Ok(Ok(Ok(taken))) => Ok(taken),
            Ok(Ok(Err(error))) => Err(StoreError::Unavailable(error.into())),
            Ok(Err(panicked)) => Err(StoreError::Unavailable(panicked.into())),
            Err(elapsed) => Err(StoreError::Unavailable(elapsed.into())),
        }
    }
}

/// What was taken out of the outbox.
struct Taken {
    count: usize,
    /// Whether one of them may have been pushed; `None` if there was none.
    pushed: Option<bool>,
    more: bool,
}
