//! A source of notifications in memory, for tests of its consumer and of its contract.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use doorstep_domain::NotificationId;
use doorstep_domain::ports::{
    Backlog, Bad, Fence, NotificationSource, SourceError, Withdrawal, Written, WrittenPayload,
};
use tokio::sync::Notify;
use uuid::Uuid;

use crate::source::SourceUnderTest;

/// The backend's side. Clones share everything.
#[derive(Clone, Default)]
pub struct MemorySource {
    tables: Arc<Mutex<SourceTables>>,
    bell: Arc<Notify>,
}

#[derive(Default)]
struct SourceTables {
    next: u64,
    waiting: BTreeMap<u64, Written>,
    accepted: BTreeMap<u64, Written>,
    rejected: BTreeMap<u64, Bad>,
    fence: u64,
    held: bool,
}

impl SourceTables {
    fn check(&self, fence: Fence) -> Result<(), SourceError> {
        if fence.0 == self.fence { Ok(()) } else { Err(SourceError::LeaseLost) }
    }
}

fn matching<'a>(
    rows: &'a BTreeMap<u64, Written>,
    which: &'a Withdrawal,
    after: u64,
    limit: usize,
) -> impl Iterator<Item = &'a Written> {
    let matches = move |row: &&Written| match (row.id, &row.user_id) {
        (Some(id), Some(user)) => user.parse().is_ok_and(|user| {
            let topic = row.topic.as_ref().and_then(|topic| topic.parse().ok());
            which.matches(id, &user, topic.as_ref())
        }),
        _ => false,
    };
    rows.range(after + 1..).map(|(_, row)| row).filter(matches).take(limit)
}

impl MemorySource {
    fn tables(&self) -> MutexGuard<'_, SourceTables> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes a row. Returns its id.
    pub fn write(&self, user_id: &str, payload: String) -> NotificationId {
        let id = NotificationId::new(Uuid::now_v7());
        let mut tables = self.tables();
        tables.next += 1;
        let place = tables.next;
        let row = Written {
            place,
            age: Duration::ZERO,
            id: Some(id),
            user_id: Some(user_id.to_owned()),
            kind: Some("order.shipped".to_owned()),
            payload: WrittenPayload::Json(payload),
            topic: None,
            ttl: None,
            policy: None,
            traceparent: None,
        };
        tables.waiting.insert(place, row);
        drop(tables);
        self.bell.notify_one();
        id
    }

    /// How many rows wait, are accepted, and were rejected.
    pub fn counts(&self) -> (usize, usize, usize) {
        let tables = self.tables();
        (tables.waiting.len(), tables.accepted.len(), tables.rejected.len())
    }
}

#[async_trait]
impl NotificationSource for MemorySource {
    async fn lease(&self) -> Result<Option<Fence>, SourceError> {
        let mut tables = self.tables();
        if tables.held {
            return Ok(None);
        }
        tables.held = true;
        tables.fence += 1;
        Ok(Some(Fence(tables.fence)))
    }

    async fn renew(&self, fence: Fence) -> Result<(), SourceError> {
        self.tables().check(fence)
    }

    async fn release(&self, fence: Fence) -> Result<(), SourceError> {
        let mut tables = self.tables();
        tables.check(fence)?;
        tables.held = false;
        Ok(())
    }

    async fn accepted(&self, after: u64, limit: usize) -> Result<Vec<Written>, SourceError> {
        let tables = self.tables();
        Ok(tables.accepted.range(after + 1..).take(limit).map(|(_, row)| row.clone()).collect())
    }

    async fn take(&self, limit: usize) -> Result<Vec<Written>, SourceError> {
        Ok(self.tables().waiting.values().take(limit).cloned().collect())
    }

    async fn accept(&self, fence: Fence, places: &[u64]) -> Result<Vec<u64>, SourceError> {
        let mut tables = self.tables();
        tables.check(fence)?;
        let mut moved = Vec::new();
        for place in places {
            if let Some(row) = tables.waiting.remove(place) {
                tables.accepted.insert(*place, row);
                moved.push(*place);
            }
        }
        Ok(moved)
    }

    async fn reject(&self, fence: Fence, bad: &[Bad]) -> Result<(), SourceError> {
        let mut tables = self.tables();
        tables.check(fence)?;
        for one in bad {
            tables.waiting.remove(&one.place);
            tables.accepted.remove(&one.place);
            tables.rejected.insert(one.place, one.clone());
        }
        Ok(())
    }

    async fn forget(&self, fence: Fence, places: &[u64]) -> Result<(), SourceError> {
        let mut tables = self.tables();
        tables.check(fence)?;
        tables.accepted.retain(|place, _| !places.contains(place));
        Ok(())
    }

    async fn withdraw(
        &self,
        which: &Withdrawal,
        limit: usize,
    ) -> Result<Vec<Written>, SourceError> {
        let mut tables = self.tables();
        let places: Vec<u64> =
            matching(&tables.waiting, which, 0, limit).map(|row| row.place).collect();
        Ok(places.iter().filter_map(|place| tables.waiting.remove(place)).collect())
    }

    async fn accepted_of(
        &self,
        which: &Withdrawal,
        after: u64,
        limit: usize,
    ) -> Result<Vec<Written>, SourceError> {
        Ok(matching(&self.tables().accepted, which, after, limit).cloned().collect())
    }

    async fn written(&self, at_most: Duration) {
        tokio::time::timeout(at_most, self.bell.notified()).await.ok();
    }

    async fn backlog(&self) -> Result<Backlog, SourceError> {
        let waiting = self.tables().waiting.len().try_into().unwrap_or(u64::MAX);
        Ok(Backlog { waiting, oldest: Duration::ZERO })
    }
}

#[async_trait]
impl SourceUnderTest for MemorySource {
    fn node(&self) -> Arc<dyn NotificationSource> {
        Arc::new(self.clone())
    }

    async fn publish(&self, number: u64) -> NotificationId {
        self.write("ada", number.to_string())
    }

    async fn lease_ends(&self) {
        self.tables().held = false;
    }
}
