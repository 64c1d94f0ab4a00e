//! How long the operations of a store take, and how its pools are used.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;

use doorstep_domain::ports::StoreError;
use sqlx::AnyPool;

use super::Store;
use crate::figures::{Latencies, PoolFigures, StoreFigures};

/// What is told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operation {
    /// A `SELECT`.
    Read,
    /// A statement that writes, by itself.
    Write,
    /// The beginning of a transaction: a connection of the pool, and `BEGIN`.
    Begin,
    /// A transaction, from its beginning to its commit.
    Transaction,
}

impl Operation {
    const ALL: [Self; 4] = [Self::Read, Self::Write, Self::Begin, Self::Transaction];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Begin => "begin",
            Self::Transaction => "transaction",
        }
    }
}

/// The operations since the start.
#[derive(Debug, Default)]
pub(crate) struct StoreStats {
    took: [Latencies; Operation::ALL.len()],
    failed: [AtomicU64; Operation::ALL.len()],
}

impl StoreStats {
    /// Counts an operation that was done, or not done because of the database. An operation that the database refused
    /// for its content, such as a name that is taken, is neither.
    pub(super) fn count<T>(
        &self,
        operation: Operation,
        begun: Instant,
        result: &Result<T, StoreError>,
    ) {
        match result {
            Ok(_) => self.took[operation as usize].count(begun.elapsed()),
            Err(StoreError::Unavailable(_)) => {
                self.failed[operation as usize].fetch_add(1, Relaxed);
            }
            Err(_) => {}
        }
    }
}

impl Store {
    /// How long operations took, and how the pools are used.
    pub fn figures(&self) -> StoreFigures {
        let of = |operation: Operation| {
            let failed = self.stats.failed[operation as usize].load(Relaxed);
            (operation.as_str(), self.stats.took[operation as usize].counts(), failed)
        };
        let pool = |name, pool: &AnyPool| {
            let idle = u32::try_from(pool.num_idle()).unwrap_or(u32::MAX);
            let in_use = pool.size().saturating_sub(idle);
            PoolFigures { name, idle, in_use, limit: pool.options().get_max_connections() }
        };
        let pools = if self.has_one_pool {
            vec![pool("all", &self.writers)]
        } else {
            vec![pool("writers", &self.writers), pool("readers", &self.readers)]
        };
        StoreFigures { operations: Operation::ALL.map(of).into(), pools }
    }
}
