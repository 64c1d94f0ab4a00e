//! What the fields of a draft must be, whichever way it comes in: over HTTP or through an outbox.

use std::fmt;
use std::time::Duration;

use doorstep_domain::{Payload, PayloadError, Ttl};

use super::WantedPolicy;

/// What drafts are judged against.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DraftBounds {
    /// The longest TTL that is taken.
    pub max_ttl: Ttl,
    /// Whether there is an inbox: without one its policy cannot be wanted.
    pub inbox: bool,
}

impl DraftBounds {
    /// A text with a form of its own, such as a kind.
    pub fn text<T: std::str::FromStr<Err: fmt::Display>>(text: &str) -> Result<T, String> {
        text.parse().map_err(|e: T::Err| e.to_string())
    }

    /// JSON text.
    pub fn payload(json: &str) -> Result<Payload, String> {
        Payload::parse(json).map_err(|e: PayloadError| e.to_string())
    }

    /// The name of a delivery policy.
    pub fn policy(self, word: &str) -> Result<WantedPolicy, String> {
        match WantedPolicy::WORDS.iter().find(|(known, _)| *known == word) {
            Some((_, WantedPolicy::Inbox)) if !self.inbox => {
                Err("there is no inbox here".to_owned())
            }
            Some((_, policy)) => Ok(*policy),
            None => Err("must be \"immediate\", \"deferred\" or \"inbox\"".to_owned()),
        }
    }

    /// A number of seconds; `None` if it is not a whole number.
    pub fn ttl(self, seconds: Option<u64>) -> Result<Ttl, String> {
        let ttl = seconds.and_then(|s| Ttl::new(Duration::from_secs(s)));
        ttl.filter(|ttl| *ttl <= self.max_ttl).ok_or_else(|| {
            let most = self.max_ttl.as_duration().as_secs();
            format!("must be a whole number of seconds from 0 to {most}")
        })
    }
}
