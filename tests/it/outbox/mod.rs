//! The outbox: a backend publishes in transactions of its own PostgreSQL database, and the real binary consumes it. All
//! of it with roles that have exactly the grants that are documented.

mod bad;
mod crash;
mod dead_rows;
mod examples;
mod fate;
mod install;
mod order;
mod outages;
mod recall;
mod source;
mod stop;
mod takeover;
mod waking;
mod writers;

use std::time::Duration;

use doorstep_tests::postgres::Postgres;
use doorstep_tests::server::Doorstep;
use serde_json::Value;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection, Row as _};
use uuid::Uuid;

use crate::backends::{BARE, Door};

/// A backend's database with an outbox in it.
pub(crate) struct Shop {
    /// As the owner.
    pub(crate) url: String,
    /// As the role of the backend.
    pub(crate) backend_url: String,
    /// As the role of the node.
    pub(crate) node_url: String,
}

impl Shop {
    pub(crate) async fn open() -> Self {
        Self::with(&[]).await
    }

    /// Installed with these arguments.
    pub(crate) async fn with(arguments: &[&str]) -> Self {
        let url = Postgres::shared().await.database().await;
        let args = [&["outbox", "install", "--url", &url], arguments].concat();
        let installed = Doorstep::new(&args).run().await;
        assert_eq!(installed.code, Some(0), "{}", installed.stderr);
        assert_eq!(installed.stdout, "installed the outbox");

        // What the script says, for roles of this database alone.
        let script = Doorstep::new(&["outbox", "install", "--print"]).run().await.stdout;
        let unique = Uuid::now_v7().simple();
        let (backend, node) = (format!("backend_{unique}"), format!("node_{unique}"));
        let mut grants = String::new();
        for grant in script.lines().filter_map(|line| line.strip_prefix("--   GRANT")) {
            let grant = grant.replace("TO backend", &format!("TO {backend}"));
            grants.push_str("GRANT");
            grants.push_str(&grant.replace("TO node", &format!("TO {node}")));
            grants.push('\n');
        }
        assert_eq!(grants.lines().count(), 7, "{script}");
        let roles = format!("CREATE ROLE {backend} LOGIN; CREATE ROLE {node} LOGIN; {grants}");
        let mut owner = PgConnection::connect(&url).await.unwrap();
        owner.execute(AssertSqlSafe(roles)).await.unwrap();
        // A table of the backend's own, beside which it publishes.
        let table = "CREATE TABLE customers (name text PRIMARY KEY)";
        owner.execute(table).await.unwrap();
        let grant = format!("GRANT SELECT, INSERT ON customers TO {backend}");
        owner.execute(AssertSqlSafe(grant)).await.unwrap();
        // As logical replication has it: now no row of a table without a primary key can be updated or deleted.
        owner.execute("CREATE PUBLICATION everything FOR ALL TABLES").await.unwrap();
        let of = |role: &str| url.replacen("postgres@", &format!("{role}@"), 1);
        Self { backend_url: of(&backend), node_url: of(&node), url }
    }

    /// A node that keeps nothing and consumes the outbox.
    pub(crate) async fn door(&self) -> Door {
        self.door_with("").await
    }

    /// The same, with this in its configuration.
    pub(crate) async fn door_with(&self, file: &str) -> Door {
        Door::with(&format!("{BARE}{}{file}", self.section())).await
    }

    /// The part of the configuration.
    pub(crate) fn section(&self) -> String {
        format!("\n[outbox]\nurl = {:?}\n", self.node_url)
    }

    /// A connection of the backend.
    pub(crate) async fn backend(&self) -> PgConnection {
        PgConnection::connect(&self.backend_url).await.unwrap()
    }

    /// Looks as the owner, at a number.
    pub(crate) async fn number(&self, query: &str) -> i64 {
        let mut owner = PgConnection::connect(&self.url).await.unwrap();
        let row = owner.fetch_one(AssertSqlSafe(query.to_owned())).await.unwrap();
        row.get(0)
    }

    /// Changes something as the owner.
    pub(crate) async fn change(&self, statement: &str) {
        let mut owner = PgConnection::connect(&self.url).await.unwrap();
        owner.execute(AssertSqlSafe(statement.to_owned())).await.unwrap();
    }

    /// Waits until this number is zero.
    pub(crate) async fn until_none(&self, query: &str) {
        let none = async {
            while self.number(query).await != 0 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(Duration::from_mins(1), none).await.expect(query);
    }

    /// Waits until nothing waits and nothing is accepted.
    pub(crate) async fn until_empty(&self) {
        self.until_none(OPEN).await;
    }
}

/// How many rows have not ended.
pub(crate) const OPEN: &str =
    "SELECT (SELECT count(*) FROM doorstep.outbox) + (SELECT count(*) FROM doorstep.accepted)";

/// Publishes to the user; the payload is a number. Returns the id.
pub(crate) async fn publish(backend: &mut PgConnection, user: &str, number: i64) -> String {
    call(backend, &format!("'{user}', 'order.shipped', to_jsonb({number})")).await
}

/// Publishes with these arguments, in SQL.
pub(crate) async fn call(backend: &mut PgConnection, arguments: &str) -> String {
    let sql = format!("SELECT doorstep.publish({arguments})::text");
    let row = sqlx::raw_sql(AssertSqlSafe(sql)).fetch_one(backend).await.unwrap();
    row.get(0)
}

/// The number in a frame.
pub(crate) fn number(frame: &Value) -> i64 {
    frame["payload"].as_i64().unwrap()
}
