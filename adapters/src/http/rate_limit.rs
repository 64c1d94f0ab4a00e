use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};

use super::Problem;
use super::client_address::client;
use super::limit_log::LimitLog;

/// The request rate that one address may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Requests per second on average; 0 means no limit.
    pub per_second: u32,
    /// Requests at once, before the average counts; at least one.
    pub burst: u32,
}

impl Default for Rate {
    /// Enough for a classroom behind one address, and too little to fill a database.
    fn default() -> Self {
        Self { per_second: 50, burst: 200 }
    }
}

/// Limits each address to a rate. An IPv6 client can choose among a whole /64, so that counts as one address.
#[derive(Clone)]
pub struct AddressLimit {
    limiter: Option<Arc<Limiter>>,
    log: Arc<LimitLog>,
}

struct Limiter {
    addresses: DefaultKeyedRateLimiter<IpAddr>,
    clock: DefaultClock,
    /// Reading the size of the map takes all of its locks, so it is done only once in a while.
    checks: AtomicU32,
}

impl AddressLimit {
    /// The most addresses that are remembered. Addresses that have used nothing of their rate are forgotten first.
    const MAX_ADDRESSES: usize = 100_000;
    /// The number of requests between two checks of the map's size.
    const SWEEP_EVERY: u32 = 1024;

    /// A limit of this rate. `setting` is the name of the setting, for the log.
    pub fn new(rate: Rate, setting: &'static str) -> Self {
        let burst = NonZeroU32::new(rate.burst).unwrap_or(NonZeroU32::MIN);
        let limiter = NonZeroU32::new(rate.per_second).map(|per_second| {
            Arc::new(Limiter {
                addresses: RateLimiter::keyed(Quota::per_second(per_second).allow_burst(burst)),
                clock: DefaultClock::default(),
                checks: AtomicU32::new(0),
            })
        });
        Self { limiter, log: Arc::new(LimitLog::new(setting)) }
    }

    /// Counts one request of this address. Fails with the time to wait if the rate is used up.
    pub fn check(&self, address: IpAddr) -> Result<(), Duration> {
        let Some(limiter) = &self.limiter else { return Ok(()) };
        if limiter.checks.fetch_add(1, Ordering::Relaxed) % Self::SWEEP_EVERY == 0
            && limiter.addresses.len() > Self::MAX_ADDRESSES / 2
        {
            limiter.addresses.retain_recent();
            limiter.addresses.shrink_to_fit();
            if limiter.addresses.len() > Self::MAX_ADDRESSES {
                return Err(Duration::from_secs(1));
            }
        }
        let now = limiter.clock.now();
        limiter.addresses.check_key(&network(address)).map_err(|until| until.wait_time_from(now))
    }
}

/// The addresses that one client may have: for IPv6 a whole /64.
pub(super) fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        v4 @ IpAddr::V4(_) => v4,
    }
}

/// Middleware that returns 429 beyond the limit.
pub(crate) async fn within_limit(
    State(limit): State<AddressLimit>,
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let client = client(request.extensions());
    if let Err(wait) = limit.check(client.address()) {
        limit.log.reached(&client);
        return Err(Problem::too_many(wait));
    }
    Ok(next.run(request).await)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_its_burst_and_then_waits_while_others_go_on() {
        let limit = AddressLimit::new(Rate { per_second: 1, burst: 3 }, "limits.test");
        let (one, other) = ([10, 0, 0, 1].into(), [10, 0, 0, 2].into());
        for _ in 0..3 {
            assert_eq!(limit.check(one), Ok(()));
        }
        assert!(limit.check(one).is_err_and(|wait| wait <= Duration::from_secs(1)));
        assert_eq!(limit.check(other), Ok(()));
    }

    #[test]
    fn zero_is_no_limit() {
        let limit = AddressLimit::new(Rate { per_second: 0, burst: 0 }, "limits.test");
        assert!((0..10_000).all(|_| limit.check([10, 0, 0, 1].into()).is_ok()));
    }

    #[test]
    fn a_whole_ipv6_network_counts_as_one_and_a_mapped_v4_address_as_itself() {
        let limit = AddressLimit::new(Rate { per_second: 1, burst: 1 }, "limits.test");
        assert!(limit.check("2001:db8::1".parse().unwrap()).is_ok());
        assert!(limit.check("2001:db8::2".parse().unwrap()).is_err());
        assert!(limit.check("2001:db8:0:1::1".parse().unwrap()).is_ok());
        assert!(limit.check("::ffff:10.0.0.1".parse().unwrap()).is_ok());
        assert!(limit.check("10.0.0.1".parse().unwrap()).is_err());
    }
}
