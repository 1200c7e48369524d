//! Whether the PostgreSQL server is there.
//!
//! A connection to a server that was stopped, or whose network is gone, may wait for its answer for
//! many minutes; and a pool keeps trying for as long as it is told to, since it may be that all of its
//! connections are in use. So whoever waits longer than [`PATIENCE`] asks with a connection of its
//! own whether there is a server, and gives up when there is none.

use std::io;
use std::time::{Duration, Instant};

use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{ConnectOptions as _, Connection as _, Error};
use tokio::sync::Mutex;
use tokio::time::timeout;

use crate::error::is_away;

/// How long an answer may take before anybody doubts.
const PATIENCE: Duration = Duration::from_secs(2);
/// The same, while the server was away when it was last looked for.
const DOUBT: Duration = Duration::from_millis(100);
/// How long the server may take to say that it is there.
const GREETING: Duration = Duration::from_millis(1500);
/// How long a finding counts.
const FRESH: Duration = Duration::from_secs(1);

pub(crate) struct Presence {
    options: PgConnectOptions,
    last: Mutex<Option<Finding>>,
}

struct Finding {
    at: Instant,
    /// Why it seems to be away.
    away: Option<String>,
}

impl Presence {
    pub(crate) fn new(options: PgConnectOptions) -> Self {
        Self { options, last: Mutex::new(None) }
    }

    /// Waits for an answer of the server, unless there is no server.
    ///
    /// # Errors
    /// That of the work, or `Io` when nobody is there to answer.
    pub(crate) async fn watch<T>(
        &self,
        work: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        let mut work = std::pin::pin!(work);
        if let Ok(done) = timeout(self.patience(), work.as_mut()).await {
            return done;
        }
        loop {
            let look = async {
                tokio::select! { biased; done = work.as_mut() => Ok(done), away = self.look() => Err(away) }
            };
            match look.await {
                Ok(done) => return done,
                Err(Some(reason)) => {
                    let reason = format!("the server does not answer: {reason}");
                    return Err(Error::Io(io::Error::new(io::ErrorKind::TimedOut, reason)));
                }
                Err(None) => {}
            }
            if let Ok(done) = timeout(PATIENCE, work.as_mut()).await {
                return done;
            }
        }
    }

    fn patience(&self) -> Duration {
        let away = self
            .last
            .try_lock()
            .is_ok_and(|last| last.as_ref().is_some_and(|finding| finding.away.is_some()));
        if away { DOUBT } else { PATIENCE }
    }

    /// Looks for the server, once for all who want to know; why it seems to be away.
    async fn look(&self) -> Option<String> {
        let mut last = self.last.lock().await;
        if let Some(finding) = last.as_ref().filter(|finding| finding.at.elapsed() < FRESH) {
            return finding.away.clone();
        }
        let away = match timeout(GREETING, self.greet()).await {
            Ok(Ok(())) => None,
            // It refuses us, but it is there: it may have as many connections as it takes.
            Ok(Err(error)) if !is_away(&error) => None,
            Ok(Err(error)) => Some(error.to_string()),
            Err(_) => Some(format!("no greeting within {} s", GREETING.as_secs_f32())),
        };
        let was_away = last.as_ref().is_some_and(|finding| finding.away.is_some());
        match &away {
            Some(reason) if !was_away => tracing::error!(reason, "the database is away"),
            None if was_away => tracing::info!("the database is back"),
            _ => {}
        }
        *last = Some(Finding { at: Instant::now(), away: away.clone() });
        away
    }

    async fn greet(&self) -> Result<(), Error> {
        let mut connection: PgConnection = self.options.connect().await?;
        connection.ping().await?;
        connection.close().await
    }
}
