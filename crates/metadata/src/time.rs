//! The database's time, by which leases and schedules are measured.

use std::sync::OnceLock;
use std::time::{SystemTime, UNIX_EPOCH};

use berth_types::Millis;
use rustix::time::{ClockId, clock_gettime};

use crate::{DbError, Engine, Session, args};

/// What only PostgreSQL knows.
pub const POSTGRES_STATEMENTS: &[&str] = &[NOW];

const NOW: &str =
    "SELECT CAST(FLOOR(EXTRACT(EPOCH FROM clock_timestamp()) * 1000) AS BIGINT) AS now";

impl Session {
    /// What time it is for everybody on this database, in milliseconds since the epoch. The clock of
    /// a single server does not matter: PostgreSQL is asked for its own. A SQLite file has one
    /// process, whose time begins with the wall clock and passes steadily from then on (through
    /// suspends too), however the wall clock is set meanwhile.
    ///
    /// # Errors
    /// [`DbError`] when PostgreSQL cannot be asked.
    pub async fn database_time(&mut self) -> Result<Millis, DbError> {
        match self.engine() {
            Engine::Sqlite => Ok(steady()),
            Engine::Postgres => self.fetch_one(NOW, args![]).await?.int("now"),
        }
    }
}

fn steady() -> Millis {
    /// Wall clock less the time since the machine started.
    static STARTED: OnceLock<Millis> = OnceLock::new();
    let wall = || {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Millis::try_from(since.as_millis()).unwrap_or(Millis::MAX)
    };
    let uptime = clock_gettime(ClockId::Boottime);
    let uptime = uptime.tv_sec.saturating_mul(1000).saturating_add(uptime.tv_nsec / 1_000_000);
    STARTED.get_or_init(|| wall().saturating_sub(uptime)).saturating_add(uptime)
}
