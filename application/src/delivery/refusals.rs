use std::collections::BTreeMap;
use std::error::Error;
use std::fmt;

use doorstep_domain::Notification;

use super::Refused;
use super::sync::Mutex;

/// A notification that was not accepted, and why. It is as it came, so it can be kept, sent to another node, or sent again
/// later.
///
/// ```
/// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/sockets.rs"));
/// use std::sync::Arc;
///
/// use doorstep_application::delivery::{Delivery, Limits, Refused};
/// # use doorstep_domain::ports::Clock;
/// # use doorstep_domain::{NotificationId, Payload, SystemClock};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let (sockets, clock) = (Arc::new(Sockets::default()), Arc::new(SystemClock::start()));
///
/// let delivery = Delivery::builder(sockets.clone(), sockets, clock.clone())
///     .limits(Limits { max_pending: 0, ..Limits::default() })
///     .start()?;
/// # let to = |user: &str| -> Result<Notification, Box<dyn std::error::Error>> {
/// #     let (id, payload) = (NotificationId::now_v7(), Payload::new("hello")?);
/// #     Ok(Notification::new(id, user.parse()?, "welcome".parse()?, payload, clock.wall()))
/// # };
/// let mut for_later = Vec::new();
/// if let Err(refused) = delivery.send(to("ada")?).await {
///     match refused.why {
///         // For nobody else either: somebody should know.
///         Refused::NoInbox | Refused::TooLarge => return Err(refused.into()),
///         _ => for_later.push(*refused.notification),
///     }
/// }
/// assert_eq!(for_later[0].user_id, "ada".parse()?);
/// # Ok(())
/// # }
/// ```
pub struct NotAccepted {
    /// Why.
    pub why: Refused,
    /// What was to be sent. In a box, because a refusal is rare and a result is returned often.
    pub notification: Box<Notification>,
}

impl fmt::Display for NotAccepted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.why.fmt(f)
    }
}

/// Without the payload, which is nobody's business in a log.
impl fmt::Debug for NotAccepted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("NotAccepted");
        shown.field("why", &self.why).field("id", &self.notification.id).finish_non_exhaustive()
    }
}

impl Error for NotAccepted {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.why.source()
    }
}

impl Refused {
    /// This refusal, of this notification.
    pub(super) fn of(self, notification: Notification) -> NotAccepted {
        NotAccepted { why: self, notification: Box::new(notification) }
    }
}

/// How many notifications were not accepted, by reason.
pub(super) struct RefusedCounts(Mutex<BTreeMap<&'static str, u64>>);

/// The reason of what was no valid notification and never came to delivery.
pub(super) const INVALID: &str = "invalid";

impl RefusedCounts {
    pub(super) fn count(&self, reason: &'static str) {
        *self.0.lock().entry(reason).or_default() += 1;
    }

    pub(super) fn all(&self) -> Vec<(&'static str, u64)> {
        self.0.lock().iter().map(|(reason, count)| (*reason, *count)).collect()
    }
}

impl Default for RefusedCounts {
    /// Every reason is there from the beginning: an increase from nothing is not seen as one.
    fn default() -> Self {
        let known = [INVALID].iter().chain(Refused::REASONS);
        Self(Mutex::new(known.map(|reason| (*reason, 0)).collect()))
    }
}

/// The word of each refusal. A refusal without one does not compile.
macro_rules! words_of_refusals {
    ($($refusal:pat => $word:literal,)+) => {
        impl Refused {
            /// The words of [`as_str`](Self::as_str).
            const REASONS: &[&str] = &[$($word,)+];

            /// The word for it on the wire and in metrics.
            pub const fn as_str(&self) -> &'static str {
                match self {
                    $($refusal => $word,)+
                }
            }
        }
    };
}

words_of_refusals! {
    Self::MailboxFull => "mailbox_full",
    Self::NodeFull => "node_full",
    Self::NoInbox => "no_inbox",
    Self::Store(_) => "inbox_away",
    Self::Stopping => "stopping",
    Self::LogAway => "cluster_away",
    Self::TooLarge => "too_large",
}
