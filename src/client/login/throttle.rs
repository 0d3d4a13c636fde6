//! Slows down whoever keeps failing to log in.
//!
//! The answer to a failed login waits, the longer the more logins of its address have failed lately;
//! the answer to a good one does not, so that an application whose neighbour has an old password
//! notices nothing. Since a guesser need not wait for a late answer, an address that is being slowed
//! down can have only so many logins under way, late answers included; one more has to wait, but
//! only for so long: many clients may share an address, and one of them must not lock out the rest.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use quick_cache::sync::Cache;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout};

/// Most addresses remembered.
const ADDRESSES_MAX: usize = 10_000;
/// Logins of one address under way while it is slowed down: with waits of 4 s, 64 guesses a second.
const UNDER_WAY_MAX: usize = 256;
/// The first wait; each further failure doubles it.
const FIRST_WAIT: Duration = Duration::from_millis(100);
/// Time after which one failure is forgotten.
const FORGIVEN_AFTER: Duration = Duration::from_secs(10);
/// Bits of the part of an IPv6 address that stands for one host: it chooses the rest itself.
const HOST_BITS: u32 = 64;

/// Failed logins by address.
pub struct Throttle {
    free: u32,
    longest: Duration,
    addresses: Cache<IpAddr, Arc<Address>>,
}

impl std::fmt::Debug for Throttle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Throttle").field("addresses", &self.addresses.len()).finish()
    }
}

/// What is known of one address.
struct Address {
    failures: Mutex<Failures>,
    turns: Arc<Semaphore>,
}

/// Failures that are not forgotten yet.
#[derive(Debug, Clone, Copy)]
struct Failures {
    count: u32,
    /// Up to when forgetting is done.
    at: Instant,
}

impl Failures {
    /// What is left of them.
    fn decayed(self, now: Instant) -> Self {
        let periods = now.duration_since(self.at).as_secs() / FORGIVEN_AFTER.as_secs();
        let periods = u32::try_from(periods).unwrap_or(u32::MAX);
        match self.count.saturating_sub(periods) {
            0 => Self { count: 0, at: now },
            count => Self { count, at: self.at + FORGIVEN_AFTER * periods },
        }
    }
}

impl Throttle {
    /// The first `free` failures of an address are answered at once, later ones wait for up to
    /// `longest`; zero turns it off.
    pub fn new(free: u32, longest: Duration) -> Self {
        Self { free, longest, addresses: Cache::new(ADDRESSES_MAX) }
    }

    /// Waits until a login from `client` may be looked at, which is at once unless the address is
    /// being slowed down, and never later than the longest wait for an answer. What is returned is
    /// to be kept until the login is answered.
    ///
    /// # Cancel safety
    /// Nothing is lost but the place in the queue.
    pub(in crate::client) async fn turn(&self, client: IpAddr) -> Option<OwnedSemaphorePermit> {
        let address = self.addresses.get(&host(client))?;
        let count = address.failures.lock().decayed(Instant::now()).count;
        if count <= self.free {
            return None;
        }
        timeout(self.longest, address.turns.clone().acquire_owned()).await.ok()?.ok()
    }

    /// Notes a failed login; how long its answer has to wait.
    pub(in crate::client) fn failed(&self, client: IpAddr, now: Instant) -> Duration {
        if self.longest.is_zero() {
            return Duration::ZERO;
        }
        let made = || -> Result<_, std::convert::Infallible> {
            let failures = Mutex::new(Failures { count: 0, at: now });
            Ok(Arc::new(Address { failures, turns: Arc::new(Semaphore::new(UNDER_WAY_MAX)) }))
        };
        let Ok(address) = self.addresses.get_or_insert_with(&host(client), made);
        let mut failures = address.failures.lock();
        *failures = failures.decayed(now);
        let over = (failures.count + 1).saturating_sub(self.free);
        let wait = wait(over);
        // More would only make it last longer until all is forgotten.
        if over == 0 || wait < self.longest {
            failures.count += 1;
        }
        wait.min(self.longest)
    }
}

/// The wait after so many failures that are not free.
fn wait(over: u32) -> Duration {
    match over {
        0 => Duration::ZERO,
        over => FIRST_WAIT * 2_u32.saturating_pow((over - 1).min(16)),
    }
}

/// The address as far as it stands for one host.
fn host(client: IpAddr) -> IpAddr {
    match client.to_canonical() {
        IpAddr::V4(client) => client.into(),
        IpAddr::V6(client) => Ipv6Addr::from(u128::from(client) >> HOST_BITS << HOST_BITS).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONGEST: Duration = Duration::from_secs(4);

    fn address(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    fn millis(throttle: &Throttle, client: &str, now: Instant, times: usize) -> Vec<u128> {
        let failed = || throttle.failed(address(client), now).as_millis();
        std::iter::repeat_with(failed).take(times).collect()
    }

    #[test]
    fn waits_grow_after_the_free_failures_and_shrink_with_time() {
        let throttle = Throttle::new(3, LONGEST);
        let now = Instant::now();
        let expected = [0, 0, 0, 100, 200, 400, 800, 1600, 3200, 4000, 4000, 4000];
        assert_eq!(millis(&throttle, "10.0.0.1", now, 12), expected);
        assert_eq!(millis(&throttle, "10.0.0.2", now, 1), [0], "another address");
        let later = now + FORGIVEN_AFTER * 2;
        assert_eq!(millis(&throttle, "10.0.0.1", later, 3), [1600, 3200, 4000]);
        let much_later = later + FORGIVEN_AFTER * 9;
        assert_eq!(millis(&throttle, "10.0.0.1", much_later, 4), [0, 0, 0, 100]);
    }

    #[test]
    fn an_ipv6_host_is_one_whatever_address_it_takes() {
        let throttle = Throttle::new(0, LONGEST);
        let now = Instant::now();
        assert_eq!(millis(&throttle, "2001:db8::1", now, 1), [100]);
        assert_eq!(millis(&throttle, "2001:db8::ffff:2", now, 1), [200]);
        assert_eq!(millis(&throttle, "2001:db8:0:1::1", now, 1), [100]);
        assert_eq!(millis(&throttle, "10.0.0.1", now, 1), [100]);
        assert_eq!(millis(&throttle, "::ffff:10.0.0.1", now, 1), [200]);
    }

    #[test]
    fn nothing_waits_when_it_is_off() {
        let throttle = Throttle::new(0, Duration::ZERO);
        assert_eq!(millis(&throttle, "10.0.0.1", Instant::now(), 20), [0; 20]);
        assert!(throttle.addresses.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn only_so_many_logins_of_a_failing_address_are_under_way() {
        let throttle = Throttle::new(1, LONGEST);
        let (bad, good) = (address("10.0.0.1"), address("10.0.0.2"));
        assert!(throttle.turn(bad).await.is_none());
        millis(&throttle, "10.0.0.1", Instant::now(), 1);
        assert!(throttle.turn(bad).await.is_none(), "it is free");
        millis(&throttle, "10.0.0.1", Instant::now(), 1);
        let mut turns = Vec::new();
        for _ in 0..UNDER_WAY_MAX {
            turns.push(throttle.turn(bad).await.expect("a turn"));
        }
        let start = Instant::now();
        assert!(throttle.turn(bad).await.is_none());
        assert_eq!(start.elapsed().as_secs(), LONGEST.as_secs(), "nobody waits for ever");
        assert!(throttle.turn(good).await.is_none());
        turns.pop();
        assert!(throttle.turn(bad).await.is_some());
        assert_eq!(start.elapsed().as_secs(), LONGEST.as_secs(), "a turn that is free is given");
    }

    #[test]
    fn many_addresses_take_bounded_memory() {
        let throttle = Throttle::new(0, LONGEST);
        for client in 0..3 * ADDRESSES_MAX {
            let client = Ipv6Addr::from((client as u128) << HOST_BITS);
            throttle.failed(client.into(), Instant::now());
        }
        assert!(throttle.addresses.len() <= ADDRESSES_MAX);
    }
}
