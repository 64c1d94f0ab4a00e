use async_trait::async_trait;
use doorstep_domain::ports::{Readiness, StoreError};

use super::Store;

#[async_trait]
impl Readiness for Store {
    async fn check(&self) -> Result<(), StoreError> {
        // Of a table, so that the file or the server's disk is really looked at.
        self.rows(|| sqlx::query("SELECT seq FROM users LIMIT 1")).await?;
        Ok(())
    }
}
