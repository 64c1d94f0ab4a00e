//! Entries into the inbox by policy: those of many senders are written together.
//!
//! A durable write takes milliseconds, however much it holds. While one is under way, what other senders want
//! written gathers, and is the next one.

use std::sync::Arc;

use doorstep_domain::ports::{EnteredBy, StoreError};
use doorstep_domain::{Notification, Step, UserId};
use tokio::sync::oneshot;

use super::Wake;
use super::queues::{BATCH, INBOX, InboxQueues};
use crate::delivery::endings::Acceptance;
use crate::delivery::sync::Mutex;
use crate::delivery::{NotAccepted, Refused};

/// What a sender gets back: its notification, and whether it is written.
type GivenBack = (Notification, Result<(), StoreError>);

/// A notification that is to be written, and who waits for that.
struct Entry {
    notification: Notification,
    sender: oneshot::Sender<GivenBack>,
}

impl Entry {
    fn is_awaited(&self) -> bool {
        !self.sender.is_closed()
    }
}

/// What one write holds. Whatever becomes of the writer, each sender gets its notification back.
struct Batch {
    notifications: Vec<Notification>,
    senders: Vec<oneshot::Sender<GivenBack>>,
}

impl Batch {
    fn of(entries: Vec<Entry>) -> Self {
        let parts = entries.into_iter().map(|entry| (entry.notification, entry.sender));
        let (notifications, senders) = parts.unzip();
        Self { notifications, senders }
    }

    fn tell(mut self, results: Vec<Result<(), StoreError>>) {
        self.give_back(results.into_iter());
    }

    /// A sender that has gone does not want to know.
    fn give_back(&mut self, results: impl Iterator<Item = Result<(), StoreError>>) {
        let notifications = std::mem::take(&mut self.notifications).into_iter();
        let senders = std::mem::take(&mut self.senders);
        for (sender, written) in senders.into_iter().zip(notifications.zip(results)) {
            let _ = sender.send(written);
        }
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        let interrupted = || Err(StoreError::Unavailable("the write was interrupted".into()));
        self.give_back(std::iter::repeat_with(interrupted));
    }
}

/// What is to be written. Those whose sender has gone are not: so this is bounded by the senders who wait.
#[derive(Default)]
pub(super) struct Entries(Mutex<Waiting>);

#[derive(Default)]
struct Waiting {
    entries: Vec<Entry>,
    /// A task writes, and looks here again when it has written.
    writing: bool,
}

impl Entries {
    /// Adds an entry. Returns true if there is no task that writes it: the caller starts one.
    fn add(&self, entry: Entry) -> bool {
        let mut waiting = self.0.lock();
        // Before it grows, and while a slow store takes nothing out.
        if waiting.entries.len() == waiting.entries.capacity() {
            waiting.entries.retain(Entry::is_awaited);
        }
        waiting.entries.push(entry);
        !std::mem::replace(&mut waiting.writing, true)
    }

    /// Takes what one write may hold. With nothing left, the task ends.
    fn next(&self) -> Vec<Entry> {
        let mut waiting = self.0.lock();
        waiting.entries.retain(Entry::is_awaited);
        waiting.writing = !waiting.entries.is_empty();
        if waiting.entries.len() <= BATCH {
            return std::mem::take(&mut waiting.entries);
        }
        let later = waiting.entries.split_off(BATCH);
        std::mem::replace(&mut waiting.entries, later)
    }
}

impl Wake {
    /// The policy `inbox`: writes a notification before it is pushed.
    ///
    /// Its place among the writes is taken at the first poll. If the caller goes away before the write has begun, it is
    /// not written.
    ///
    /// Returns the notification in any case.
    pub(in crate::delivery) async fn write_to_inbox(
        self: &Arc<Self>,
        notification: Notification,
    ) -> Result<(Acceptance, Notification), NotAccepted> {
        let Some(queues) = &self.queues else { return Err(Refused::NoInbox.of(notification)) };
        let (sender, written) = oneshot::channel();
        if queues.entries.add(Entry { notification, sender }) {
            let this = self.clone();
            self.cx.tasks.spawn(async move {
                this.cx.tasks.keep_going("writing of the inbox", || this.write_entries()).await;
            });
        }
        match written.await {
            Ok((notification, Ok(()))) => Ok((Acceptance::Waiting, notification)),
            Ok((notification, Err(error))) => Err(Refused::Store(error).of(notification)),
            // It is dropped by a `Batch`, which has sent something before, and with what this call has borrowed.
            Err(_) => unreachable!("an entry is dropped only with its sender's call"),
        }
    }

    /// Writes until nothing is left to write.
    async fn write_entries(self: &Arc<Self>) {
        let Some(queues) = &self.queues else { return };
        loop {
            let entries = queues.entries.next();
            if entries.is_empty() {
                return;
            }
            let batch = Batch::of(entries);
            let results = self.write_together(queues, &batch.notifications).await;
            let written =
                batch.notifications.iter().zip(&results).filter(|(_, result)| result.is_ok());
            let mut users: Vec<&UserId> = written
                .map(|(n, _)| {
                    self.cx.endings.note(&n.user_id, n.id, || Step::Kept);
                    &n.user_id
                })
                .collect();
            users.sort_unstable();
            users.dedup();
            // The other nodes of a cluster are told by whoever waits for this.
            for user in users {
                self.look_if_online(user);
            }
            batch.tell(results);
        }
    }

    /// Writes all of them, and returns a result for each.
    async fn write_together(
        &self,
        queues: &InboxQueues,
        notifications: &[Notification],
    ) -> Vec<Result<(), StoreError>> {
        let write = |some| self.cx.guarded(INBOX, queues.store.add(some, EnteredBy::Policy));
        // The write may have succeeded in spite of an error, so there is no outcome: the sender tries again.
        let failed = |n: &Notification, error: StoreError| {
            let trace_id = n.trace.map(|trace| tracing::field::display(trace.trace_id()));
            tracing::warn!(notification = %n.id, trace_id, %error, "could not write to the inbox");
            Err(error)
        };
        match write(notifications).await {
            Ok(()) => notifications.iter().map(|_| Ok(())).collect(),
            Err(StoreError::Unavailable(why)) => {
                let why = why.to_string();
                let away = || StoreError::Unavailable(why.as_str().into());
                notifications.iter().map(|n| failed(n, away())).collect()
            }
            Err(error) if notifications.len() == 1 => vec![failed(&notifications[0], error)],
            // What is wrong with one must not fail the others.
            Err(_) => {
                let mut results = Vec::new();
                for n in notifications {
                    let alone = write(std::slice::from_ref(n)).await;
                    results.push(alone.or_else(|error| failed(n, error)));
                }
                results
            }
        }
    }
}

#[cfg(all(test, not(shuttle)))]
mod tests {
    use doorstep_domain::{NotificationId, Payload, Timestamp};
    use uuid::Uuid;

    use super::*;

    #[test]
    fn senders_who_have_gone_take_no_memory_while_the_store_is_slow() {
        let entries = Entries::default();
        for n in 0..10_000 {
            let notification = Notification {
                id: NotificationId::new(Uuid::from_u128(n)),
                user_id: "ada".parse().unwrap(),
                kind: "welcome".parse().unwrap(),
                topic: None,
                payload: Payload::new("hello").unwrap(),
                created_at: Timestamp::default(),
                ttl: None,
                trace: None,
            };
            let (sender, gone) = oneshot::channel();
            drop(gone);
            entries.add(Entry { notification, sender });
        }
        assert!(entries.0.lock().entries.capacity() <= 16);
        assert!(entries.next().is_empty());
    }
}
