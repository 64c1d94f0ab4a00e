use std::collections::BTreeMap;

use super::Refused;
use super::sync::Mutex;

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
