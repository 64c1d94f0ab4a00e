//! The port's contract: the source in PostgreSQL and the one in memory keep the same promises.

use std::sync::Arc;

use async_trait::async_trait;
use doorstep_adapters::outbox::PostgresOutbox;
use doorstep_domain::NotificationId;
use doorstep_domain::ports::NotificationSource;
use doorstep_tests::contract::source::{SourceUnderTest, check_source};
use doorstep_tests::memory_source::MemorySource;

use super::{Shop, publish};

#[async_trait]
impl SourceUnderTest for Shop {
    fn node(&self) -> Arc<dyn NotificationSource> {
        Arc::new(PostgresOutbox::new(&self.node_url).unwrap())
    }

    async fn publish(&self, number: u64) -> NotificationId {
        let mut backend = self.backend().await;
        publish(&mut backend, "ada", number.try_into().unwrap()).await.parse().unwrap()
    }

    async fn lease_ends(&self) {
        self.change(
            "UPDATE doorstep.consumer SET held_until = clock_timestamp() - interval '1 ms'",
        )
        .await;
    }
}

#[tokio::test]
async fn the_outbox_in_postgresql_keeps_the_contract() {
    check_source(&Shop::open().await).await;
}

#[tokio::test]
async fn the_source_in_memory_keeps_the_contract() {
    check_source(&MemorySource::default()).await;
}
