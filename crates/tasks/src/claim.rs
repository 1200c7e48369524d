//! Which task comes next: slots are shared between tenants and their shares, then the order of turns
//! decides, in which priority is a head start and waiting tasks age.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use berth_metadata::tables::task::claim::{self, Claimant, Running, Waiting};
use berth_metadata::{DbError, Session};
use berth_types::Millis;

use crate::TaskRow;

/// The first tasks in the order of turns that are looked at.
const OLDEST: i64 = 64;
/// Tenants that are looked at besides, and how many of them more closely.
const TENANTS: i64 = 32;
const TENANTS_SEARCHED: usize = 4;
/// Shares of such a tenant that are looked at.
const SHARES: i64 = 16;
/// Tenants whose place is remembered.
const PLACES: usize = 1024;

/// Where the search for shares goes on: a queue may have more of them than one look sees.
#[derive(Default)]
pub(crate) struct Places(Mutex<Round>);

#[derive(Default)]
struct Round {
    tenant: String,
    shares: HashMap<String, String>,
}

impl Places {
    fn round(&self) -> MutexGuard<'_, Round> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tenant(&self) -> String {
        self.round().tenant.clone()
    }

    fn share(&self, tenant: &str) -> String {
        self.round().shares.get(tenant).cloned().unwrap_or_default()
    }

    fn set_tenant(&self, tenant: Option<&String>) {
        self.round().tenant = tenant.cloned().unwrap_or_default();
    }

    fn set_share(&self, tenant: &str, share: Option<&Waiting>) {
        let mut round = self.round();
        if round.shares.len() >= PLACES {
            round.shares.clear();
        }
        match share {
            Some(last) => round.shares.insert(tenant.to_owned(), last.share.clone()),
            None => round.shares.remove(tenant),
        };
    }
}

/// Tenant and share.
pub(crate) type ShareKey = (String, String);

/// What a claim may take.
pub(crate) struct Allowance<'a> {
    /// Tasks at most.
    pub(crate) slots: usize,
    /// Whether the last of these slots is for shares only that are not slow.
    pub(crate) guard_last: bool,
    /// Shares that are known to be slow here.
    pub(crate) slow: &'a BTreeSet<ShareKey>,
    /// A task that lost so many workers runs only while no other such task does.
    pub(crate) suspect: i64,
    /// An attempt that runs since before that time makes its share slow.
    pub(crate) slow_before: Millis,
}

/// Leases the tasks whose turn it is.
pub(crate) async fn next(
    session: &mut Session,
    queue: &str,
    places: &Places,
    by: &Claimant<'_>,
    allowance: &Allowance<'_>,
) -> Result<Vec<TaskRow>, DbError> {
    let running = claim::running(session).await?;
    let mut suspects = running.iter().any(|row| row.losses >= allowance.suspect);
    let mut picker = Picker::new(queue, &running, allowance);
    let losses = if suspects { allowance.suspect } else { i64::MAX };
    picker.add(claim::oldest(session, queue, losses, OLDEST).await?);
    // What the first tasks show may be all of one share.
    for tenant in picker.calmest(tenants(session, queue, places).await?) {
        picker.add(shares(session, queue, places, &tenant).await?);
    }
    let mut claimed = Vec::new();
    while claimed.len() < allowance.slots {
        let is_last = claimed.len() + 1 == allowance.slots;
        let Some(waiting) = picker.pick(allowance.guard_last && is_last) else { break };
        let losses = if suspects { allowance.suspect } else { i64::MAX };
        let by = Claimant { losses, ..by.clone() };
        match claim::claim(session, queue, &waiting, &by).await? {
            Some(task) => {
                suspects |= task.losses >= allowance.suspect;
                picker.began(&waiting);
                claimed.push(task);
            }
            None => picker.exhausted(&waiting),
        }
    }
    Ok(claimed)
}

async fn tenants(
    session: &mut Session,
    queue: &str,
    places: &Places,
) -> Result<Vec<String>, DbError> {
    let after = places.tenant();
    let mut found = claim::tenants(session, queue, &after, TENANTS).await?;
    let full = i64::try_from(found.len()) == Ok(TENANTS);
    places.set_tenant(found.last().filter(|_| full));
    if !full && !after.is_empty() {
        let from_the_start = claim::tenants(session, queue, "", TENANTS).await?;
        found.extend(from_the_start.into_iter().take_while(|tenant| *tenant <= after));
    }
    Ok(found)
}

async fn shares(
    session: &mut Session,
    queue: &str,
    places: &Places,
    tenant: &str,
) -> Result<Vec<Waiting>, DbError> {
    let after = places.share(tenant);
    let mut found = claim::shares(session, queue, tenant, &after, SHARES).await?;
    let full = i64::try_from(found.len()) == Ok(SHARES);
    places.set_share(tenant, found.last().filter(|_| full));
    if !full && !after.is_empty() {
        found.extend(claim::shares(session, queue, tenant, "", SHARES).await?);
    }
    Ok(found)
}

/// Chooses among the shares that were found.
struct Picker<'a> {
    allowance: &'a Allowance<'a>,
    by_tenant: HashMap<String, i64>,
    by_share: HashMap<ShareKey, i64>,
    slow: BTreeSet<ShareKey>,
    /// With the turn of the first task.
    waiting: HashMap<ShareKey, i64>,
}

impl<'a> Picker<'a> {
    fn new(queue: &str, running: &[Running], allowance: &'a Allowance<'a>) -> Self {
        let mut picker = Self {
            allowance,
            by_tenant: HashMap::new(),
            by_share: HashMap::new(),
            slow: BTreeSet::new(),
            waiting: HashMap::new(),
        };
        for row in running.iter().filter(|row| row.queue == queue) {
            let key = (row.tenant.clone(), row.share.clone());
            *picker.by_tenant.entry(row.tenant.clone()).or_default() += row.tasks;
            if row.since.is_some_and(|since| since < allowance.slow_before) {
                picker.slow.insert(key.clone());
            }
            *picker.by_share.entry(key).or_default() += row.tasks;
        }
        picker
    }

    fn add(&mut self, found: Vec<Waiting>) {
        for Waiting { tenant, share, turn } in found {
            let known = self.waiting.entry((tenant, share)).or_insert(turn);
            *known = (*known).min(turn);
        }
    }

    /// Those tenants that have the least running, in the order in which they were found.
    fn calmest(&self, mut tenants: Vec<String>) -> Vec<String> {
        tenants.sort_by_key(|tenant| self.running_of(tenant));
        tenants.truncate(TENANTS_SEARCHED);
        tenants
    }

    fn running_of(&self, tenant: &str) -> i64 {
        self.by_tenant.get(tenant).copied().unwrap_or(0)
    }

    fn is_slow(&self, key: &ShareKey) -> bool {
        self.slow.contains(key) || self.allowance.slow.contains(key)
    }

    fn pick(&self, not_slow: bool) -> Option<Waiting> {
        let candidates = self.waiting.iter().filter(|(key, _)| !not_slow || !self.is_slow(key));
        let best = candidates.min_by_key(|(key, turn)| {
            let of_share = self.by_share.get(*key).copied().unwrap_or(0);
            (self.running_of(&key.0), of_share, **turn, *key)
        });
        best.map(|((tenant, share), turn)| Waiting {
            tenant: tenant.clone(),
            share: share.clone(),
            turn: *turn,
        })
    }

    /// The share's next task may come later than the one that was taken: it is looked at last.
    fn began(&mut self, waiting: &Waiting) {
        let key = (waiting.tenant.clone(), waiting.share.clone());
        *self.by_tenant.entry(key.0.clone()).or_default() += 1;
        *self.by_share.entry(key).or_default() += 1;
    }

    fn exhausted(&mut self, waiting: &Waiting) {
        self.waiting.remove(&(waiting.tenant.clone(), waiting.share.clone()));
    }
}
