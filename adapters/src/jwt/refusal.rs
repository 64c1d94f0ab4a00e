use std::fmt;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use doorstep_domain::Timestamp;

/// Why a token is refused. Its text contains nothing of the token's claims.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum TokenRefusal {
    TooLong(usize),
    NotAJwt,
    Critical,
    UnknownAlgorithm,
    UnknownKey { kid: Option<String> },
    Signature,
    Missing(&'static str),
    Malformed(&'static str),
    Claims,
    Issuer,
    Audience,
    Expired,
    NotYet,
}

impl TokenRefusal {
    const KINDS: usize = 13;

    fn index(&self) -> usize {
        match self {
            Self::TooLong(_) => 0,
            Self::NotAJwt => 1,
            Self::Critical => 2,
            Self::UnknownAlgorithm => 3,
            Self::UnknownKey { .. } => 4,
            Self::Signature => 5,
            Self::Missing(_) => 6,
            Self::Malformed(_) => 7,
            Self::Issuer => 8,
            Self::Audience => 9,
            Self::Expired => 10,
            Self::NotYet => 11,
            Self::Claims => 12,
        }
    }
}

impl fmt::Display for TokenRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        /// The id comes from an unknown client, so it is shown only if it is short.
        const SHOWN_BYTES: usize = 64;
        match self {
            Self::TooLong(size) => {
                let most = super::Jwts::MAX_TOKEN_BYTES;
                write!(f, "it is too long: {size} bytes, of at most {most}")
            }
            Self::NotAJwt => f.write_str("it is not a JSON Web Token"),
            Self::Critical => f.write_str("its header has `crit`, which asks for an extension"),
            Self::UnknownAlgorithm => {
                f.write_str("no key here is for the algorithm that its header names")
            }
            Self::UnknownKey { kid: None } => f.write_str("no key here has signed it"),
            Self::UnknownKey { kid: Some(kid) } if kid.len() > SHOWN_BYTES => {
                f.write_str("its `kid` is unknown here")
            }
            Self::UnknownKey { kid: Some(kid) } => write!(f, "its `kid` {kid:?} is unknown here"),
            Self::Signature => f.write_str("its signature does not match its key"),
            Self::Missing(claim) => write!(f, "it has no `{claim}` of the right type"),
            Self::Malformed(claim) => write!(f, "its `{claim}` is invalid"),
            Self::Claims => f.write_str(
                "its claims are not a `sub` (a string), an `exp` and perhaps an `nbf` (numbers)",
            ),
            Self::Issuer => f.write_str("its `iss` is not jwt.issuer"),
            Self::Audience => f.write_str("its `aud` does not contain jwt.audience"),
            Self::Expired => f.write_str("it has expired: `exp` is in the past"),
            Self::NotYet => f.write_str("it is not valid yet: `nbf` is in the future"),
        }
    }
}

/// Logs refusals, at a rate that no client can turn into a flood.
#[derive(Debug)]
pub(super) struct Refusals {
    kinds: [RefusalCount; TokenRefusal::KINDS],
}

#[derive(Debug)]
struct RefusalCount {
    /// When the next refusal of this kind may be logged, in microseconds of the clock's timeline.
    next: AtomicI64,
    unlogged: AtomicU64,
}

impl Refusals {
    /// One line per kind of refusal in this time.
    const PAUSE: Duration = Duration::from_secs(1);

    pub(super) fn new() -> Self {
        let kind = || RefusalCount { next: AtomicI64::new(i64::MIN), unlogged: AtomicU64::new(0) };
        Self { kinds: std::array::from_fn(|_| kind()) }
    }

    pub(super) fn log(&self, refusal: &TokenRefusal, now: Timestamp) {
        let RefusalCount { next, unlogged } = &self.kinds[refusal.index()];
        let (due, again) = (next.load(Relaxed), (now + Self::PAUSE).as_micros());
        let first =
            due <= now.as_micros() && next.compare_exchange(due, again, Relaxed, Relaxed).is_ok();
        if first {
            let alike_before = unlogged.swap(0, Relaxed);
            tracing::info!(why = %refusal, alike_before, "refused a token");
        } else {
            unlogged.fetch_add(1, Relaxed);
        }
    }
}
