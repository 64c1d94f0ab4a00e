//! The readiness of a node that keeps nothing.

use async_trait::async_trait;
use doorstep_domain::ports::{Readiness, StoreError};

/// There is no store that could be away.
pub(crate) struct AlwaysReady;

#[async_trait]
impl Readiness for AlwaysReady {
    async fn check(&self) -> Result<(), StoreError> {
        Ok(())
    }
}
