use async_trait::async_trait;
use doorstep_domain::ports::{Readiness, StoreError};

use super::Store;

#[async_trait]
impl Readiness for Store {
    async fn check(&self) -> Result<(), StoreError> {
        // Of a table, so that the file or the server's disk is really looked at: the one that is always there,
        // whichever others are wanted, and never empty.
        self.rows(|| sqlx::query("SELECT version FROM _sqlx_migrations LIMIT 1")).await?;
        Ok(())
    }
}
