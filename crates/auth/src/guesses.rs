//! How fast secrets can be guessed.
//!
//! Wrong secrets are counted by the address that they come from and the access key that they are
//! for, so that a wrong client does not stand in the way of a right one beside it. A right secret is
//! never refused. Where guessing it could succeed at all, because somebody chose a short one, an
//! address that has used its guesses up waits for its turn before the next one is looked at, right
//! or wrong: whoever guesses learns no more in a minute than the limit says.

use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use moka::sync::Cache;

use crate::keyring::AccessKey;
use crate::rate::Throttled;

/// Allowances that are remembered, those that are asked most.
const REMEMBERED: u64 = 65_536;
const MINUTE: Duration = Duration::from_secs(60);
/// Wrong secrets of one address for all keys together, in limits of one key: bounds how fast the ids
/// of keys can be tried.
const KEYS: u32 = 10;
/// How many attempts wait for a turn with the same key, and for how long.
const WAITING: usize = 16;
const PATIENCE: Duration = Duration::from_secs(20);

/// An address as it is counted: of IPv6 the network of 64 bits, since one stranger has all of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ClientAddress {
    V4(u32),
    V6(u64),
}

impl From<IpAddr> for ClientAddress {
    fn from(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self::V4(address.to_bits()),
            IpAddr::V6(address) => {
                let [a, b, c, d, ..] = address.segments();
                let join = |high: u64, low: u16| high << 16 | u64::from(low);
                Self::V6([a, b, c, d].into_iter().fold(0, join))
            }
        }
    }
}

/// The client that nobody knows the address of.
impl Default for ClientAddress {
    fn default() -> Self {
        Self::V4(0)
    }
}

/// The wrong secrets of all addresses.
pub(crate) struct Guesses(Option<Counted>);

struct Counted {
    per_minute: u32,
    keys: Cache<(ClientAddress, String), Arc<Allowance>>,
    addresses: Cache<ClientAddress, Arc<Allowance>>,
}

impl Guesses {
    /// Zero is no limit.
    pub(crate) fn new(per_minute: u32) -> Self {
        Self((per_minute > 0).then(|| Counted {
            per_minute,
            keys: Cache::builder().max_capacity(REMEMBERED).time_to_idle(MINUTE).build(),
            addresses: Cache::builder().max_capacity(REMEMBERED).time_to_idle(MINUTE).build(),
        }))
    }

    /// Before a secret is looked at. Waits only where the key's secret could be guessed.
    ///
    /// # Errors
    /// [`Throttled`] when too many wait already, or it would take too long.
    pub(crate) async fn turn<'a>(
        &'a self,
        address: ClientAddress,
        name: &'a str,
        key: Option<&AccessKey>,
    ) -> Result<Turn<'a>, Throttled> {
        let counted = self.0.as_ref();
        let mut turn = Turn { counted, address, name, taken: None, waited: false };
        if let (Some(counted), Some(key)) = (counted, key)
            && key.guessable
            && let Some(allowance) = counted.suspect(address, name)
        {
            turn.waited = allowance.wait().await.inspect_err(|_| refused())?;
            turn.taken = Some(allowance);
        }
        Ok(turn)
    }
}

fn refused() {
    metrics::counter!("berth_refused_total", "reason" => "failed_logins").increment(1);
}

impl Counted {
    /// The allowance of an address that gave a wrong secret for the key before.
    fn suspect(&self, address: ClientAddress, name: &str) -> Option<Arc<Allowance>> {
        self.keys.get(&(address, short(name)))
    }

    fn of_key(&self, address: ClientAddress, name: &str) -> Arc<Allowance> {
        self.keys.get_with((address, short(name)), || Arc::new(Allowance::new(self.per_minute)))
    }

    fn of_address(&self, address: ClientAddress) -> Arc<Allowance> {
        let per_minute = self.per_minute.saturating_mul(KEYS);
        self.addresses.get_with(address, || Arc::new(Allowance::new(per_minute)))
    }
}

/// The name as it is counted: a longer one is no key's.
fn short(name: &str) -> String {
    name.chars().take(128).collect()
}

/// A secret that may be looked at.
pub(crate) struct Turn<'a> {
    counted: Option<&'a Counted>,
    address: ClientAddress,
    name: &'a str,
    /// A guess that was taken; it is gone for good unless the secret was right.
    taken: Option<Arc<Allowance>>,
    waited: bool,
}

impl Turn<'_> {
    /// The secret was right.
    pub(crate) fn right(self) {
        if let Some(taken) = self.taken {
            taken.give_back();
        }
    }

    /// The secret was wrong.
    ///
    /// # Errors
    /// [`Throttled`] when the address has had its wrong ones of this minute.
    pub(crate) fn wrong(self) -> Result<(), Throttled> {
        let Some(counted) = self.counted else { return Ok(()) };
        let now = Instant::now();
        let of_key = match self.taken {
            Some(allowance) if self.waited => Err(allowance.missing()),
            Some(_) => Ok(()),
            None => counted.of_key(self.address, self.name).take(now),
        };
        // What was one too many for a key does not count for the others.
        let answer = of_key.and_then(|()| counted.of_address(self.address).take(now));
        answer.inspect_err(|_| refused())
    }
}

/// Guesses that come back with time.
struct Allowance {
    per_minute: f64,
    left: Mutex<Left>,
    waiting: AtomicUsize,
    turn: tokio::sync::Mutex<()>,
}

struct Left {
    guesses: f64,
    at: Instant,
}

/// A place in the queue, until it is dropped.
struct Place<'a>(&'a AtomicUsize);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Allowance {
    fn new(per_minute: u32) -> Self {
        let per_minute = f64::from(per_minute);
        let left = Left { guesses: per_minute, at: Instant::now() };
        Self {
            per_minute,
            left: Mutex::new(left),
            waiting: AtomicUsize::new(0),
            turn: tokio::sync::Mutex::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Left> {
        self.left.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn per_second(&self) -> f64 {
        self.per_minute / MINUTE.as_secs_f64()
    }

    fn take(&self, now: Instant) -> Result<(), Throttled> {
        let mut left = self.lock();
        let elapsed = now.saturating_duration_since(left.at);
        let filled = left.guesses + elapsed.as_secs_f64() * self.per_second();
        left.guesses = filled.min(self.per_minute);
        left.at = now;
        if left.guesses < 1.0 {
            let missing = (1.0 - left.guesses) / self.per_second();
            return Err(Throttled { retry_after: Duration::from_secs_f64(missing) });
        }
        left.guesses -= 1.0;
        Ok(())
    }

    /// When the next guess comes back.
    fn missing(&self) -> Throttled {
        let missing = (1.0 - self.lock().guesses).max(0.0) / self.per_second();
        Throttled { retry_after: Duration::from_secs_f64(missing) }
    }

    fn give_back(&self) {
        let mut left = self.lock();
        left.guesses = (left.guesses + 1.0).min(self.per_minute);
    }

    /// Takes a guess, behind those that wait already. Says whether it had to wait.
    async fn wait(&self) -> Result<bool, Throttled> {
        if self.waiting.load(Ordering::Relaxed) == 0 && self.take(Instant::now()).is_ok() {
            return Ok(false);
        }
        let before = self.waiting.fetch_add(1, Ordering::Relaxed);
        let _place = Place(&self.waiting);
        if before >= WAITING {
            return Err(self.missing());
        }
        let begun = Instant::now();
        let _turn = self.turn.lock().await;
        while let Err(refused) = self.take(Instant::now()) {
            if begun.elapsed() + refused.retry_after > PATIENCE {
                return Err(refused);
            }
            tokio::time::sleep(refused.retry_after).await;
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use berth_types::Secret;

    use super::*;
    use crate::keyring::KeyStatus;

    const HERE: ClientAddress = ClientAddress::V4(1);
    const THERE: ClientAddress = ClientAddress::V4(2);

    fn key(secret: &str) -> AccessKey {
        AccessKey::new("key", "1", Secret::new(secret), KeyStatus::Active, String::new())
    }

    fn strong() -> AccessKey {
        key("kq3P9sVx0aWm4Zt7Lb2R")
    }

    async fn wrong(guesses: &Guesses, address: ClientAddress, key: &AccessKey) -> bool {
        match guesses.turn(address, &key.access_key_id, Some(key)).await {
            Ok(turn) => turn.wrong().is_ok(),
            Err(_) => false,
        }
    }

    #[test]
    fn one_network_of_ipv6_is_one_stranger() {
        let address = |text: &str| ClientAddress::from(text.parse::<IpAddr>().expect("an address"));
        assert_eq!(address("2001:db8:0:1::1"), address("2001:db8:0:1:ffff::2"));
        assert_ne!(address("2001:db8:0:1::1"), address("2001:db8:0:2::1"));
        assert_eq!(address("::ffff:10.0.0.1"), address("10.0.0.1"));
        assert_ne!(address("10.0.0.1"), address("10.0.0.2"));
    }

    #[test]
    fn guesses_run_out_and_come_back() {
        let allowance = Allowance::new(6);
        let begun = Instant::now();
        for _ in 0..6 {
            allowance.take(begun).expect("a guess");
        }
        assert_eq!(allowance.take(begun).expect_err("none left").seconds(), 10);
        allowance.take(begun + Duration::from_secs(10)).expect("one came back");
        allowance.take(begun + Duration::from_secs(10)).expect_err("only one");
        for _ in 0..6 {
            allowance.take(begun + Duration::from_secs(600)).expect("all came back");
        }
        allowance.take(begun + Duration::from_secs(600)).expect_err("no more than all");
    }

    #[tokio::test]
    async fn wrong_secrets_are_counted_by_address_and_key() {
        let guesses = Guesses::new(2);
        let key = strong();
        let other = AccessKey { access_key_id: "other".to_owned(), ..strong() };
        let answers = async |address, key| {
            [wrong(&guesses, address, key).await, wrong(&guesses, address, key).await]
        };
        assert_eq!(answers(HERE, &key).await, [true, true]);
        assert_eq!(answers(HERE, &key).await, [false, false]);
        assert_eq!(answers(THERE, &key).await, [true, true]);
        assert_eq!(answers(HERE, &other).await, [true, true]);
        assert!(Guesses::new(0).turn(HERE, "key", None).await.expect("no limit").wrong().is_ok());
    }

    #[tokio::test]
    async fn ids_of_keys_cannot_be_tried_without_end() {
        let guesses = Guesses::new(3);
        for count in 0..30 {
            let turn = guesses.turn(HERE, "unknown", None).await.expect("never waits");
            let name = format!("key-{count}");
            assert!(Turn { name: &name, ..turn }.wrong().is_ok());
        }
        let turn = guesses.turn(HERE, "one more", None).await.expect("never waits");
        assert!(turn.wrong().is_err());
    }

    #[tokio::test]
    async fn a_right_secret_beside_any_number_of_wrong_ones_is_taken() {
        let guesses = Guesses::new(2);
        for _ in 0..100 {
            wrong(&guesses, HERE, &strong()).await;
        }
        for _ in 0..100 {
            guesses.turn(HERE, "key", Some(&strong())).await.expect("no wait").right();
        }
    }

    #[tokio::test]
    async fn a_short_secret_is_looked_at_no_more_often_than_the_limit_says() {
        // One comes back in a tenth of a second.
        let guesses = Arc::new(Guesses::new(600));
        let short = key("hunter2hunter2");
        while wrong(&guesses, HERE, &short).await {}
        let begun = Instant::now();
        let many: Vec<_> = (0..50)
            .map(|_| {
                let (guesses, short) = (Arc::clone(&guesses), short.clone());
                tokio::spawn(async move { guesses.turn(HERE, "key", Some(&short)).await.is_ok() })
            })
            .collect();
        let mut looked_at = 0;
        for attempt in many {
            looked_at += u32::from(attempt.await.expect("attempt"));
        }
        assert!(f64::from(looked_at) <= begun.elapsed().as_secs_f64() * 10.0 + 1.0, "{looked_at}");
        let turn = guesses.turn(HERE, "key", Some(&short)).await.expect("waits, is not refused");
        assert!(turn.waited);
        turn.right();
    }
}
