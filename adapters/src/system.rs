//! The readiness of a node without a store.

use doorstep_domain::ports::{Readiness, Ready, StoreError};

/// The readiness of a node without a store: always ready.
#[derive(Debug, Clone, Copy, Default)]
pub struct NothingKept;

#[async_trait::async_trait]
impl Readiness for NothingKept {
    async fn check(&self) -> Result<Ready, StoreError> {
        Ok(Ready::Fully)
    }
}
