//! Wake-ups. They only shorten the wait of a poll; nothing may depend on one arriving.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sqlx::PgPool;
use sqlx::postgres::PgListener;
use tokio::sync::Notify;
use tokio::task::AbortHandle;

/// The one PostgreSQL channel; the payload is Berth's channel.
const POSTGRES_CHANNEL: &str = "berth_wake";
const NOTIFY: &str = "SELECT pg_notify($1, $2)";
/// Pause before listening again after the connection was lost.
const RELISTEN_AFTER: Duration = Duration::from_secs(2);

#[derive(Default)]
pub(crate) struct Wakeups {
    channels: Arc<Channels>,
    listener: Mutex<Option<AbortHandle>>,
}

#[derive(Default)]
struct Channels(Mutex<HashMap<String, Arc<Notify>>>);

impl Channels {
    fn get(&self, channel: &str) -> Arc<Notify> {
        let mut channels = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(notify) = channels.get(channel) {
            return Arc::clone(notify);
        }
        Arc::clone(channels.entry(channel.to_owned()).or_default())
    }

    /// Wakes everybody who waits, and leaves one permit for somebody who is about to.
    fn wake(&self, channel: &str) {
        let notify = self.get(channel);
        notify.notify_waiters();
        notify.notify_one();
    }
}

impl Wakeups {
    pub(crate) fn wake(&self, channel: &str) {
        self.channels.wake(channel);
    }

    pub(crate) async fn wait(&self, channel: &str, at_most: Duration) {
        let notify = self.channels.get(channel);
        // Time running out is as good as being woken: the caller polls.
        let _ = tokio::time::timeout(at_most, notify.notified()).await;
    }

    /// Tells the other processes, best effort.
    pub(crate) fn tell_others(pool: &PgPool, channel: &'static str) {
        let pool = pool.clone();
        tokio::spawn(async move {
            let query = sqlx::query(NOTIFY).bind(POSTGRES_CHANNEL).bind(channel);
            if let Err(error) = query.execute(&pool).await {
                tracing::debug!(channel, %error, "could not notify other processes");
            }
        });
    }

    /// Starts hearing other processes, once.
    pub(crate) fn listen(&self, pool: &PgPool) {
        let mut listener = self.listener.lock().unwrap_or_else(PoisonError::into_inner);
        if listener.is_some() {
            return;
        }
        let (pool, channels) = (pool.clone(), Arc::clone(&self.channels));
        let task = tokio::spawn(async move {
            while !pool.is_closed() {
                if let Err(error) = hear(&pool, &channels).await {
                    tracing::debug!(%error, "lost the connection that hears notifications");
                }
                tokio::time::sleep(RELISTEN_AFTER).await;
            }
        });
        *listener = Some(task.abort_handle());
    }

    pub(crate) fn stop(&self) {
        let listener = self.listener.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(listener) = listener {
            listener.abort();
        }
    }
}

impl Drop for Wakeups {
    fn drop(&mut self) {
        self.stop();
    }
}

async fn hear(pool: &PgPool, channels: &Channels) -> Result<(), sqlx::Error> {
    let mut listener = PgListener::connect_with(pool).await?;
    listener.listen(POSTGRES_CHANNEL).await?;
    loop {
        let notification = listener.recv().await?;
        channels.wake(notification.payload());
    }
}
