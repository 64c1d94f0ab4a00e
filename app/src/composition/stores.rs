//! The stores of a node, each part behind its port: the parts may be in different databases.
//!
//! Accounts, sessions and positions belong together, because transactions span them: registering makes a user with a
//! session, and a position reserves its cost on the ledger. Everything else stands alone. The binary keeps all of it in
//! one database; a composition of your own need not.

use std::sync::Arc;

use async_trait::async_trait;
use doorstep_adapters::sql;
use doorstep_adapters::system::NothingKept;
use doorstep_domain::ports::{
    Accounts, Handover, Inbox, Lease, Positions, Readiness, Ready, Retention, Sessions, StoreError,
};

/// The store of each part of a node. A part whose store is `None` keeps nothing.
#[derive(Default)]
pub(crate) struct Stores {
    /// Keeps notifications until they are read.
    pub(crate) inbox: Option<Arc<dyn Inbox>>,
    /// Removes read items of the inbox: of the same database.
    pub(crate) retention: Option<Arc<dyn Retention>>,
    /// Keeps the notifications that wait when a node stops.
    pub(crate) handover: Option<Arc<dyn Handover>>,
    /// Users and their money.
    pub(crate) bank: Option<Bank>,
    /// The databases behind all of these: the node is ready when each answers, and disconnects each when it has stopped.
    pub(crate) databases: Vec<Arc<sql::Store>>,
}

/// Users and their money, in one database.
#[derive(Clone)]
pub(crate) struct Bank {
    pub(crate) accounts: Arc<dyn Accounts>,
    pub(crate) sessions: Arc<dyn Sessions>,
    pub(crate) positions: Arc<dyn Positions>,
    /// Which node settles positions, if there are several.
    pub(crate) lease: Arc<dyn Lease>,
}

impl Stores {
    /// All in one database; nothing, if there is none.
    pub(crate) fn all_in(database: Option<Arc<sql::Store>>) -> Self {
        let Some(store) = database else { return Self::default() };
        Self {
            inbox: Some(store.clone()),
            retention: Some(store.clone()),
            handover: Some(store.clone()),
            bank: Some(Bank {
                accounts: store.clone(),
                sessions: store.clone(),
                positions: store.clone(),
                lease: store.clone(),
            }),
            databases: vec![store],
        }
    }

    /// Whether every database can serve.
    pub(super) fn readiness(&self) -> Arc<dyn Readiness> {
        match &self.databases[..] {
            [] => Arc::new(NothingKept),
            [one] => one.clone(),
            all => Arc::new(AllReady(all.to_vec())),
        }
    }

    /// Closes the connections to all of them.
    pub(super) async fn disconnect(&self) {
        for database in &self.databases {
            database.disconnect().await;
        }
    }
}

/// As ready as the least ready of several databases.
struct AllReady(Vec<Arc<sql::Store>>);

#[async_trait]
impl Readiness for AllReady {
    async fn check(&self) -> Result<Ready, StoreError> {
        let mut worst = Ready::Fully;
        for database in &self.0 {
            match (database.check().await?, &worst) {
                (not_yet @ Ready::NotYet(_), _) => return Ok(not_yet),
                (degraded @ Ready::Degraded(_), Ready::Fully) => worst = degraded,
                _ => {}
            }
        }
        Ok(worst)
    }
}
