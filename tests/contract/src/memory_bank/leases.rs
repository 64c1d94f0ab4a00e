//! Leases, on the clock of tokio: a test with virtual time has virtual leases.

use std::collections::HashMap;
use std::time::Duration;

use async_trait::async_trait;
use doorstep_domain::ports::{Fence, Lease, StoreError, TakenLease};
use tokio::time::Instant;

use super::MemoryBank;

/// By name.
#[derive(Default, Clone)]
pub(super) struct Leases(HashMap<String, Row>);

#[derive(Clone)]
struct Row {
    fence: Fence,
    /// `None` if it was given back.
    until: Option<Instant>,
    note: String,
}

impl Row {
    fn is_held(&self) -> bool {
        self.until.is_some_and(|until| Instant::now() <= until)
    }
}

impl Leases {
    /// Whether the lease of this name is held with this number now.
    pub(super) fn are_held_with(&self, name: &str, fence: Fence) -> bool {
        self.0.get(name).is_some_and(|row| row.fence == fence && row.is_held())
    }
}

#[async_trait]
impl Lease for MemoryBank {
    async fn take(
        &self,
        name: &str,
        _: &str,
        lasts: Duration,
    ) -> Result<Option<TakenLease>, StoreError> {
        let leases = &mut self.tables().leases.0;
        let nobody = || Row { fence: Fence(0), until: None, note: String::new() };
        let row = leases.entry(name.to_owned()).or_insert_with(nobody);
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
        let leases = &mut self.tables().leases.0;
        let held = leases.get_mut(name).filter(|row| row.fence == fence && row.is_held());
        let Some(row) = held else { return Ok(false) };
        row.until = Some(Instant::now() + lasts);
        note.clone_into(&mut row.note);
        Ok(true)
    }

    async fn release(&self, name: &str, fence: Fence, note: &str) -> Result<(), StoreError> {
        let leases = &mut self.tables().leases.0;
        if let Some(row) = leases.get_mut(name).filter(|row| row.fence == fence) {
            row.until = None;
            note.clone_into(&mut row.note);
        }
        Ok(())
    }
}
