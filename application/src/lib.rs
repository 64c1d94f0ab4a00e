//! Notifications that wait until their user is there: the delivery policy and the use cases of Doorstep, against the
//! ports of [`doorstep_domain`].
//!
//! This page shows, from top to bottom, how to use [`delivery`] inside a program of your own. It needs no other crate
//! of Doorstep, no server and no database:
//!
//! ```toml
//! [dependencies]
//! async-trait = "0.1"
//! doorstep-application = "0.1"
//! doorstep-domain = { version = "0.1", features = ["ids", "std-clock"] }
//! tokio = { version = "1", features = ["macros", "rt-multi-thread", "sync"] }
//! ```
//!
//! # 1. Two ports
//!
//! Delivery asks your program two questions: is this user here ([`Presence`]), and will you push this to them
//! ([`Pusher`]). A registry of live connections has both answers:
//!
//! ```
#![doc = include_str!("../tests/support/sockets.rs")]
//! # fn main() {}
//! ```
//!
//! **A connection whose queue is full is [`Pushed::Full`], never [`Pushed::Nobody`].** Delivery then keeps the
//! notification and all behind it, in order.
//!
//! # 2. Send, arrive, acknowledge
//!
//! Your transport tells delivery four things: [`arrived`], [`acknowledged`], [`departed`], and [`ready`] when a full
//! connection has room again. These calls return at once, and you may make them while you hold a lock.
//!
//! ```
//! # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/sockets.rs"));
//! use std::sync::Arc;
//!
//! use doorstep_application::delivery::{Acceptance, Delivery};
//! use doorstep_domain::ports::Clock;
//! use doorstep_domain::{NotificationId, Outcome, Payload, SystemClock};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let (sockets, clock) = (Arc::new(Sockets::default()), Arc::new(SystemClock::start()));
//! let delivery = Delivery::builder(sockets.clone(), sockets.clone(), clock.clone()).start()?;
//! let ada: UserId = "ada".parse()?;
//!
//! // Ada is away. Her notification waits until its TTL ends.
//! let (id, payload) = (NotificationId::now_v7(), Payload::new("hello")?);
//! let hello = Notification::new(id, ada.clone(), "welcome".parse()?, payload, clock.wall());
//! let receipt = delivery.send(hello).await?;
//! assert_eq!(receipt.state(), Acceptance::Waiting);
//!
//! // She connects: first the registry knows the connection, then delivery hears of it.
//! let mut frames = sockets.connect(&ada);
//! delivery.arrived(&ada);
//! let frame = frames.recv().await.ok_or("closed")?;
//! assert_eq!(frame.payload.as_str(), r#""hello""#);
//!
//! // The connection breaks before she acknowledges: first the registry forgets it.
//! sockets.disconnect(&ada);
//! delivery.departed(&ada);
//!
//! // The next connection gets it again, with the same id, by which clients drop what they have seen.
//! let mut frames = sockets.connect(&ada);
//! delivery.arrived(&ada);
//! assert_eq!(frames.recv().await.ok_or("closed")?.id, frame.id);
//! assert!(delivery.acknowledged(&ada, frame.id));
//! assert_eq!(receipt.outcome().await, Some(Outcome::Delivered));
//! # Ok(())
//! # }
//! ```
//!
//! Delivery is **at least once, and in order per user**. What is not acknowledged within [`Rule::ack_timeout`] is
//! pushed again.
//!
//! # 3. Bounds
//!
//! Everything has a limit. A mailbox that is full drops its oldest or refuses the newest, as the rule of the kind
//! says ([`Overflow`]); a node that is full refuses ([`Limits`]). A refused notification is not delivered later: you get
//! it back with the reason ([`NotAccepted`](delivery::NotAccepted)), and may try again or keep it.
//!
//! ```
//! # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/sockets.rs"));
//! use std::sync::Arc;
//!
//! use doorstep_application::delivery::{Delivery, Limits, Overflow, Refused, Rule, Rules};
//! # use doorstep_domain::ports::Clock;
//! # use doorstep_domain::{NotificationId, Outcome, Payload, SystemClock};
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let (sockets, clock) = (Arc::new(Sockets::default()), Arc::new(SystemClock::start()));
//!
//! let two = Rule { max_per_user: 2, overflow: Overflow::Reject, ..Rule::default() };
//! let delivery = Delivery::builder(sockets.clone(), sockets, clock.clone())
//!     .rules(Rules { default: two, ..Rules::default() })
//!     .limits(Limits { max_pending: 3, ..Limits::default() })
//!     .start()?;
//! # let to = |user: &str| -> Result<Notification, Box<dyn std::error::Error>> {
//! #     let (id, payload) = (NotificationId::now_v7(), Payload::new("hello")?);
//! #     Ok(Notification::new(id, user.parse()?, "welcome".parse()?, payload, clock.wall()))
//! # };
//! // `to` makes a notification for a user.
//! delivery.send(to("ada")?).await?;
//! delivery.send(to("ada")?).await?;
//! let refused = delivery.send(to("ada")?).await.unwrap_err();
//! assert!(matches!(refused.why, Refused::MailboxFull));
//! assert_eq!(refused.notification.user_id, "ada".parse()?);
//! delivery.send(to("bob")?).await?;
//! assert!(matches!(delivery.send(to("bob")?).await.unwrap_err().why, Refused::NodeFull));
//! assert_eq!(delivery.ended(Outcome::Rejected), 2);
//! # Ok(())
//! # }
//! ```
//!
//! # 4. Policies
//!
//! Kinds are names of your own, and a [`Rule`] says what happens to each. [`Policy::Immediate`] is for those who are
//! here, [`Policy::Deferred`] waits for its TTL, and [`Policy::Inbox`] is kept until it is read (give the builder an
//! [`Inbox`]). A notification may have a TTL of its own, and a topic: of one topic only the newest waits.
//!
//! ```
//! # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/sockets.rs"));
//! # use std::sync::Arc;
//! # use doorstep_domain::ports::Clock;
//! # use doorstep_domain::{NotificationId, Outcome, Payload, SystemClock};
//! use doorstep_application::delivery::{Delivery, Policy, Rule, Rules};
//! use doorstep_domain::Ttl;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let (sockets, clock) = (Arc::new(Sockets::default()), Arc::new(SystemClock::start()));
//! let typing = Rule { policy: Policy::Immediate, ..Rule::default() };
//! let quote = Rule { ttl: Ttl::from_secs(30), ..Rule::default() };
//! let kinds = [("typing".parse()?, typing), ("quote".parse()?, quote)].into();
//! let delivery = Delivery::builder(sockets.clone(), sockets, clock.clone())
//!     .rules(Rules { kinds, ..Rules::default() })
//!     .start()?;
//! # let of_kind = |kind: &str| -> Result<Notification, Box<dyn std::error::Error>> {
//! #     let (id, payload) = (NotificationId::now_v7(), Payload::new("hello")?);
//! #     Ok(Notification::new(id, "ada".parse()?, kind.parse()?, payload, clock.wall()))
//! # };
//!
//! // `of_kind` makes a notification of this kind for Ada, who is away.
//! let typing = delivery.send(of_kind("typing")?).await?;
//! assert_eq!(typing.outcome().await, Some(Outcome::Expired));
//!
//! let old = delivery.send(of_kind("quote")?.with_topic("EURUSD".parse()?)).await?;
//! let _new = delivery.send(of_kind("quote")?.with_topic("EURUSD".parse()?)).await?;
//! assert_eq!(old.outcome().await, Some(Outcome::Replaced));
//! # Ok(())
//! # }
//! ```
//!
//! # 5. Outcomes
//!
//! **Every accepted notification ends in exactly one [`Outcome`].** The receipt has that of one notification. An
//! observer is told of all ([`Outcomes`]); it may be slow, and nothing waits for it.
//!
//! ```
//! # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/sockets.rs"));
//! # use std::sync::Arc;
//! # use doorstep_application::delivery::Delivery;
//! # use doorstep_domain::{NotificationId, Payload, SystemClock, Ttl};
//! use doorstep_domain::Ended;
//! use doorstep_domain::ports::Outcomes;
//! # use doorstep_domain::ports::Clock;
//!
//! /// Sends each end to a channel.
//! struct Report(mpsc::UnboundedSender<Ended>);
//!
//! #[async_trait::async_trait]
//! impl Outcomes for Report {
//!     async fn ended(&self, ended: Vec<Ended>) {
//!         for end in ended {
//!             self.0.send(end).ok();
//!         }
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let (sockets, clock) = (Arc::new(Sockets::default()), Arc::new(SystemClock::start()));
//! let (report, mut ends) = mpsc::unbounded_channel();
//! let delivery = Delivery::builder(sockets.clone(), sockets, clock.clone())
//!     .outcomes(Arc::new(Report(report)))
//!     .start()?;
//! # let (id, payload) = (NotificationId::now_v7(), Payload::new("hello")?);
//! # let hello = Notification::new(id, "ada".parse()?, "welcome".parse()?, payload, clock.wall());
//! // With a TTL of zero: now or never.
//! delivery.send(hello.with_ttl(Ttl::ZERO)).await?;
//! let end = ends.recv().await.ok_or("delivery has stopped")?;
//! assert_eq!(end.outcome.as_str(), "expired");
//! # Ok(())
//! # }
//! ```
//!
//! # 6. Stop, and take up
//!
//! [`Delivery::stop`] refuses what is new, lets current pushes finish, and leaves what waits in a [`Handover`] store,
//! within the time that you give it. The next process calls [`Delivery::take_up`] before anybody can connect. Without
//! a store, what waits ends as [`Outcome::Dropped`]:
//!
//! ```
//! # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/sockets.rs"));
//! # use std::{sync::Arc, time::Duration};
//! # use doorstep_application::delivery::Delivery;
//! # use doorstep_domain::ports::Clock;
//! # use doorstep_domain::{NotificationId, Outcome, Payload, SystemClock};
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let (sockets, clock) = (Arc::new(Sockets::default()), Arc::new(SystemClock::start()));
//! # let delivery = Delivery::builder(sockets.clone(), sockets, clock.clone()).start()?;
//! # let (id, payload) = (NotificationId::now_v7(), Payload::new("hello")?);
//! # let hello = Notification::new(id, "ada".parse()?, "welcome".parse()?, payload, clock.wall());
//! let receipt = delivery.send(hello).await?;
//! let stopped = delivery.stop(Duration::from_secs(10)).await;
//! assert_eq!((stopped.handed_over, stopped.dropped), (0, 1));
//! assert_eq!(receipt.outcome().await, Some(Outcome::Dropped));
//! # Ok(())
//! # }
//! ```
//!
//! The example `handover_to_file` has a store that survives the process.
//!
//! # 7. Tests with paused time
//!
//! Delivery waits with tokio and reads the time from the [`Clock`] that you give it. With tokio's feature `test-util`
//! and a clock on tokio's time, hours pass in a moment, and every run is alike:
//!
//! ```
//! # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/sockets.rs"));
//! # use std::{sync::Arc, time::Duration};
//! # use doorstep_application::delivery::Delivery;
//! # use doorstep_domain::{NotificationId, Outcome, Payload, Ttl};
//! use doorstep_domain::ports::Clock;
//! use tokio::time::Instant;
//!
//! struct PausedClock(Instant);
//!
//! impl Clock for PausedClock {
//!     fn now(&self) -> Timestamp {
//!         Timestamp::from_micros(0) + self.0.elapsed()
//!     }
//! }
//!
//! // In your tests: #[tokio::test(start_paused = true)]
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let (sockets, clock) = (Arc::new(Sockets::default()), Arc::new(PausedClock(Instant::now())));
//! let delivery = Delivery::builder(sockets.clone(), sockets, clock.clone()).start()?;
//! # let (id, payload) = (NotificationId::now_v7(), Payload::new("hello")?);
//! # let hello = Notification::new(id, "ada".parse()?, "welcome".parse()?, payload, clock.wall());
//! let receipt = delivery.send(hello.with_ttl(Ttl::from_secs(3600))).await?;
//! tokio::time::sleep(Duration::from_secs(3599)).await;
//! assert_eq!(delivery.ended(Outcome::Expired), 0);
//! tokio::time::sleep(Duration::from_secs(2)).await;
//! assert_eq!(receipt.outcome().await, Some(Outcome::Expired));
//! # Ok(())
//! # }
//! ```
//!
//! Mocks of every port are behind the feature `mocks` of `doorstep-domain`.
//!
//! # What else is here
//!
//! Nothing here knows axum, a socket or a database. [`publishing`] is for other backends, with ids that may be
//! repeated; [`outbox`] consumes a backend's table; [`recalls`] takes back; [`stories`] tells whether one arrived;
//! [`cluster`] has the entries of a log that several nodes share.
//!
//! [`trading`] opens and closes positions, and does not know the handlers of its events. [`rewards`] and
//! [`events_to_notifications`] are handlers on the event bus. Neither knows the other or the sources of the
//! events, so the composition root can leave either out.
//!
//! [`Presence`]: doorstep_domain::ports::Presence
//! [`Pusher`]: doorstep_domain::ports::Pusher
//! [`Pushed::Full`]: doorstep_domain::ports::Pushed::Full
//! [`Pushed::Nobody`]: doorstep_domain::ports::Pushed::Nobody
//! [`Inbox`]: doorstep_domain::ports::Inbox
//! [`Handover`]: doorstep_domain::ports::Handover
//! [`Outcomes`]: doorstep_domain::ports::Outcomes
//! [`Outcome`]: doorstep_domain::Outcome
//! [`Outcome::Dropped`]: doorstep_domain::Outcome::Dropped
//! [`Clock`]: doorstep_domain::ports::Clock
//! [`arrived`]: delivery::Delivery::arrived
//! [`acknowledged`]: delivery::Delivery::acknowledged
//! [`departed`]: delivery::Delivery::departed
//! [`ready`]: delivery::Delivery::ready
//! [`Delivery::stop`]: delivery::Delivery::stop
//! [`Delivery::take_up`]: delivery::Delivery::take_up
//! [`Rule`]: delivery::Rule
//! [`Rule::ack_timeout`]: delivery::Rule::ack_timeout
//! [`Limits`]: delivery::Limits
//! [`Overflow`]: delivery::Overflow
//! [`Policy::Immediate`]: delivery::Policy::Immediate
//! [`Policy::Deferred`]: delivery::Policy::Deferred
//! [`Policy::Inbox`]: delivery::Policy::Inbox

#![warn(missing_debug_implementations)]

#[macro_use]
mod opaque;

pub mod accounts;
mod authenticator;
pub mod cluster;
mod credentials;
pub mod delivery;
pub mod demo;
pub mod events_to_notifications;
pub mod inbox;
pub mod outbox;
mod outcomes_to_events;
pub mod publishing;
pub mod recalls;
pub mod registration;
pub mod rewards;
pub mod sign_ins;
mod stop_signal;
pub mod stories;
pub mod trading;
mod waiting_news;

pub use authenticator::{AnyOf, Authenticator, NotAuthenticated};
pub use credentials::{Caller, Credentials, FieldFault, LetInBy, SignedIn};
pub use outcomes_to_events::OutcomeAnnouncer;
pub use stop_signal::StopSignal;
