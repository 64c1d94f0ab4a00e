//! The defaults of every delivery setting. The configuration of the binary takes them from here.

use std::time::Duration;

use doorstep_domain::Ttl;

use super::policy::{Limits, OnExpiry, Overflow, Policy, Rule, Strategy};

impl Default for Rule {
    fn default() -> Self {
        Self {
            policy: Policy::Deferred(Strategy::Wake),
            ttl: Ttl::from_secs(60),
            poll_interval: Duration::from_millis(500),
            on_expiry: OnExpiry::Drop,
            ack_timeout: Duration::from_secs(10),
            max_per_user: 100,
            overflow: Overflow::DropOldest,
            max_pending: usize::MAX,
            max_pending_bytes: usize::MAX,
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_pending: 1_000_000,
            max_pending_bytes: 512 * 1024 * 1024,
            push_timeout: Duration::from_secs(10),
            push_retry: Duration::from_secs(1),
            inbox_patience: Duration::from_secs(2),
        }
    }
}
