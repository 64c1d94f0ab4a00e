//! The driven ports: what the application needs from the outside, as traits.
//!
//! Each method's docs state its contract and its errors. An adapter is correct when it passes the port's contract
//! suite (the crate in `tests/contract`). To add a port: one file here with the trait and its error,
//! `#[cfg_attr(feature = "mocks", mockall::automock)]` above `#[async_trait]`, a contract suite, an adapter.
//!
//! The delivery policy needs only [`Presence`], [`Pusher`] and [`Clock`]; [`Inbox`] and [`Handover`] are optional.

mod accounts;
mod chronicle;
mod clock;
mod connections;
mod events;
mod handover;
mod ids;
mod inbox;
mod lease;
mod log;
mod market_line;
mod outcomes;
mod passwords;
mod positions;
mod presence;
mod prices;
mod pusher;
mod retention;
mod sessions;
mod source;
mod store;
mod tokens;

pub use accounts::{Accounts, Grant, RegisterError};
pub use chronicle::Chronicle;
pub use clock::Clock;
pub use connections::ConnectionControl;
pub use events::{EventHandler, EventPublisher, HandlerError, PublishError};
pub use handover::{Handover, Left};
pub use ids::Ids;
pub use inbox::{EnteredBy, Inbox, InboxItem, Removed, Which};
pub use lease::{HeldLease, Lease, TakenLease};
pub use log::{Log, LogTail, LogUnavailable};
pub use market_line::{MarketLine, MarketNews, Tick};
pub use outcomes::Outcomes;
pub use passwords::{HasherError, PasswordHasher};
pub use positions::{
    Close, Closing, IdempotencyKey, IdempotencyKeyError, Open, OpenError, Opening, Positions,
    Status,
};
pub use presence::Presence;
pub use prices::PriceFeed;
pub use pusher::{Attempt, PushError, Pushed, Pusher, RetractReason};
pub use retention::Retention;
pub use sessions::Sessions;
pub use source::{
    Backlog, Bad, Fence, NotificationSource, SourceError, Withdrawal, Written, WrittenPayload,
};
pub use store::{Audit, AuditReport, Readiness, Ready, StoreError};
pub use tokens::Tokens;

#[cfg(feature = "mocks")]
pub use self::{
    accounts::MockAccounts,
    chronicle::MockChronicle,
    clock::MockClock,
    connections::MockConnectionControl,
    events::{MockEventHandler, MockEventPublisher},
    handover::MockHandover,
    ids::MockIds,
    inbox::MockInbox,
    lease::MockLease,
    log::{MockLog, MockLogTail},
    outcomes::MockOutcomes,
    passwords::MockPasswordHasher,
    positions::MockPositions,
    presence::MockPresence,
    prices::MockPriceFeed,
    pusher::MockPusher,
    retention::MockRetention,
    sessions::MockSessions,
    source::MockNotificationSource,
    store::{MockAudit, MockReadiness},
    tokens::MockTokens,
};
