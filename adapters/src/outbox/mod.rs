//! The outbox in a backend's own PostgreSQL database: the schema `doorstep` there, and its consumer's side.
//!
//! | file | what |
//! | --- | --- |
//! | `*.sql` | what is installed, and the roles' grants |
//! | `install` | installing, upgrading, inspecting, removing |
//! | `source` | the port [`NotificationSource`](doorstep_domain::ports::NotificationSource) |
//! | `lease` | which node consumes |
//! | `withdrawal` | which rows a backend takes back |
//! | `error` | why a call failed |
//! | `session` | one connection, one transaction at a time |
//! | `unseen` | which sequence numbers may still become visible |
//! | `row` | from a row to the port's type |
//! | `wake` | LISTEN, and the proof that it works |
//!
//! **Nothing rests on the state of a session.** Each transaction sets what it needs, and no statement is prepared for
//! longer than it, so a pooler that lends server connections for a transaction may stand in between.

mod error;
mod install;
mod lease;
mod row;
mod session;
mod source;
mod steps;
mod unseen;
mod wake;
mod withdrawal;

pub use error::OutboxError;
pub use install::{Installed, Installer, OutboxStatus, script};
pub use source::PostgresOutbox;
