//! The use cases of Doorstep, against the ports of `doorstep-domain`.
//!
//! Nothing here knows axum, a socket or a database. [`delivery`] knows neither accounts nor trading, and can be
//! used alone.
//!
//! [`trading`] opens and closes positions, and does not know the handlers of its events. [`rewards`] and
//! [`events_to_notifications`] are handlers on the event bus. Neither knows the other or the sources of the
//! events, so the composition root can leave either out.

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

pub use authenticator::{AnyOf, Authenticator, NotAuthenticated};
pub use credentials::{Caller, Credentials, FieldFault, LetInBy, SignedIn};
pub use outcomes_to_events::OutcomeAnnouncer;
pub use stop_signal::StopSignal;
