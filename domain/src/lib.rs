//! The pure core of Doorstep: events, values, rules, and the ports.
//!
//! Nothing here knows a runtime, a socket, a database or the time of day: code that needs one of them takes it as
//! an argument, or is behind a trait in [`ports`]. A test checks the list of dependencies.
//!
//! Start with [`Notification`] and the two ports that the delivery policy needs, [`ports::Presence`] and
//! [`ports::Pusher`].

#![warn(missing_debug_implementations)]

#[macro_use]
mod words;

mod account;
mod decimal;
mod event;
mod id_error;
mod ledger;
mod log;
mod log_clock;
mod money;
mod notification;
mod outcome;
pub mod ports;
mod reward;
#[cfg(feature = "serde")]
mod serialised;
mod session;
mod step;
#[cfg(feature = "std-clock")]
mod system_clock;
mod time;
mod trace;
mod trading;
mod user;
#[cfg(feature = "ids")]
mod v7_ids;

pub use account::{NewUser, PasswordHash, User, Username, UsernameError};
pub use event::DomainEvent;
pub use id_error::IdError;
pub use ledger::{EntryId, EntryKind, LedgerEntry};
pub use log::{
    Append, AppendRefusal, Appended, Expecting, LogEntry, LogEvent, LogKey, ReadFrom, Sequence,
};
pub use log_clock::{LogClock, LogTime};
pub use money::{Money, MoneyError};
pub use notification::{
    Kind, KindError, Notification, NotificationId, Payload, PayloadError, Topic, TopicError,
};
pub use outcome::{Ended, Outcome};
pub use reward::{EarnedBy, RewardRule, RewardRules};
pub use session::{Session, TokenHash};
pub use step::{ConnectionRef, SentBy, Step};
#[cfg(feature = "std-clock")]
pub use system_clock::SystemClock;
pub use time::{Timestamp, Ttl};
pub use trace::{TraceId, TraceParent, TraceParentError};
pub use trading::{
    CloseReason, Closed, DecimalError, Order, OrderFault, Position, PositionId, Price, Quantity,
    Quote, Side, Symbol, SymbolError, Triggers,
};
pub use user::{UserId, UserIdError};
/// The type inside every id.
#[doc(no_inline)]
pub use uuid::Uuid;
#[cfg(feature = "ids")]
pub use v7_ids::V7Ids;
