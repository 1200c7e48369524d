//! A flag that stops long work.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::OverlayError;

/// Shared between the worker that converts and whoever may want it to stop. Conversions look at
/// it at least every few MiB and end with [`OverlayError::Canceled`].
#[derive(Debug, Clone, Default)]
pub struct Cancel(Arc<Flag>);

#[derive(Debug, Default)]
struct Flag {
    set: AtomicBool,
    parent: Option<Cancel>,
}

impl Cancel {
    pub fn new() -> Self {
        Self::default()
    }

    /// A flag that is set with this one, or alone.
    pub fn child(&self) -> Self {
        Self(Arc::new(Flag { set: AtomicBool::new(false), parent: Some(self.clone()) }))
    }

    /// Asks every holder of a clone or a child to stop.
    pub fn cancel(&self) {
        self.0.set.store(true, Ordering::Release);
    }

    pub fn is_cancelled(&self) -> bool {
        self.0.set.load(Ordering::Acquire)
            || self.0.parent.as_ref().is_some_and(Cancel::is_cancelled)
    }

    /// # Errors
    /// [`OverlayError::Canceled`] once [`Cancel::cancel`] was called.
    pub fn check(&self) -> Result<(), OverlayError> {
        if self.is_cancelled() { Err(OverlayError::Canceled) } else { Ok(()) }
    }
}
