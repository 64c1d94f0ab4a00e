//! The pure core of Doorstep: events, values, rules, and the ports.
//!
//! Nothing here knows a runtime, a socket, a database or the time of day: code that needs one of them takes it as
//! an argument, or is behind a trait in [`ports`]. A test checks the list of dependencies. The crate
//! `doorstep-application` has the delivery policy that works on these types, and a tutorial.
//!
//! # Values
//!
//! Each value is checked once, when it is made, and cheap to clone afterwards: text is shared, not copied. What cannot
//! be valid cannot be made.
//!
//! ```
//! use doorstep_domain::{Kind, Payload, Topic, Ttl, UserId};
//!
//! let user: UserId = "customer/42".parse()?;
//! let kind: Kind = "order.sent".parse()?;
//! let topic: Topic = "order/7".parse()?;
//! // Serialised once, and never parsed again on its way.
//! let payload = Payload::new(&["any", "serde", "value"])?;
//!
//! assert!("two words".parse::<Kind>().is_err());
//! assert!(Payload::parse("{not json").is_err());
//! assert_eq!(Ttl::from_secs(1_000_000), Ttl::MAX);
//! # let _ = (user, topic, payload, kind);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # A notification
//!
//! A [`Notification`] is a message for one user. Time and id are arguments, so a test chooses them:
//!
//! ```
//! use doorstep_domain::{Notification, NotificationId, Payload, Timestamp, Ttl, Uuid};
//!
//! let id = NotificationId::new(Uuid::from_u128(7));
//! let now = Timestamp::from_micros(1_795_000_000_000_000);
//! let payload = Payload::new("your order is on its way")?;
//! let sent = Notification::new(id, "ada".parse()?, "order.sent".parse()?, payload, now)
//!     .with_ttl(Ttl::from_secs(60))
//!     .with_topic("order/7".parse()?);
//! assert_eq!(sent.created_at, now);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! It ends in exactly one [`Outcome`].
//!
//! # Ports
//!
//! A port is a trait that the outside implements; its docs are its contract. Delivery needs [`ports::Presence`],
//! [`ports::Pusher`] and [`ports::Clock`]. This is a presence, and a clock that stands still:
//!
//! ```
//! use doorstep_domain::ports::{Clock, Presence};
//! use doorstep_domain::{Timestamp, UserId};
//!
//! struct OnlyAda;
//!
//! #[async_trait::async_trait]
//! impl Presence for OnlyAda {
//!     async fn is_online(&self, user: &UserId) -> bool {
//!         user.to_string() == "ada"
//!     }
//! }
//!
//! struct Noon;
//!
//! impl Clock for Noon {
//!     fn now(&self) -> Timestamp {
//!         Timestamp::from_micros(43_200_000_000)
//!     }
//! }
//!
//! // A clock that is never corrected has one time.
//! assert_eq!(Noon.wall(), Noon.now());
//! ```
//!
//! # Features
//!
//! None is on by default. Each adds something and changes nothing.
//!
//! | feature | adds |
//! | --- | --- |
//! | `std-clock` | `SystemClock`: the machine's clocks |
//! | `ids` | `V7Ids`, and `NotificationId::now_v7` |
//! | `serde` | `Serialize` and `Deserialize` for [`Notification`] and its parts |
//! | `mocks` | a mock of every port, for tests |

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
pub use event::{DomainEvent, Event};
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
