//! Leases in memory, for tests of what holds one.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use doorstep_domain::ports::{Fence, Lease, StoreError, TakenLease};
use tokio::time::Instant;

/// A [`Lease`] whose time is that of tokio.
#[derive(Default)]
pub struct MemoryLease(Mutex<HashMap<String, Row>>);

struct Row {
    fence: Fence,
    until: Option<Instant>,
    note: String,
}

impl Row {
    fn is_held(&self) -> bool {
        self.until.is_some_and(|until| Instant::now() <= until)
    }
}

impl MemoryLease {
    fn rows(&self) -> MutexGuard<'_, HashMap<String, Row>> {
        self.0.lock().expect("no panic under this lock")
    }
}

#[async_trait]
impl Lease for MemoryLease {
    async fn take(
        &self,
        name: &str,
        _: &str,
        lasts: Duration,
    ) -> Result<Option<TakenLease>, StoreError> {
        let mut rows = self.rows();
        let nobody = || Row { fence: Fence(0), until: None, note: String::new() };
        let row = rows.entry(name.to_owned()).or_insert_with(nobody);
        if row.is_held() {
            return Ok(None);
        }
        row.fence.0 += 1;
        row.until = Some(Instant::now() + lasts);
        Ok(Some(TakenLease { fence: row.fence, note: row.note.clone() }))
    }

    async fn renew(
        &self,
        name: &str,
        fence: Fence,
        note: &str,
        lasts: Duration,
    ) -> Result<bool, StoreError> {
        let mut rows = self.rows();
        let held = rows.get_mut(name).filter(|row| row.fence == fence && row.is_held());
        let Some(row) = held else { return Ok(false) };
        row.until = Some(Instant::now() + lasts);
        note.clone_into(&mut row.note);
        Ok(true)
    }

    async fn release(&self, name: &str, fence: Fence, note: &str) -> Result<(), StoreError> {
        if let Some(row) = self.rows().get_mut(name).filter(|row| row.fence == fence) {
            row.until = None;
            note.clone_into(&mut row.note);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_keeps_the_contract() {
        crate::lease(Arc::new(MemoryLease::default())).await;
    }
}
