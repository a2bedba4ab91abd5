//! Progress and cancellation shared between a running routine and whoever started it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::error::{Error, Result};

/// Counters that worker threads move and the starting thread reads.
///
/// The core calls [`Progress::advance`] at least every 100 ms or so; the caller reads the counters and may
/// [`Progress::cancel`]. Nothing here touches Python.
#[derive(Debug, Default)]
pub struct Progress {
    done: AtomicU64,
    total: AtomicU64,
    cancelled: Arc<AtomicBool>,
}

impl Progress {
    /// Fresh counters at zero.
    pub fn new() -> Self {
        Self::default()
    }

    /// Counters of a part whose work is announced as a whole: its own count, but cancelled together with this one.
    pub fn quiet(&self) -> Self {
        Self { cancelled: Arc::clone(&self.cancelled), ..Self::default() }
    }

    /// Announces how many units of work there will be in all.
    pub fn set_total(&self, total: u64) {
        self.total.store(total, Ordering::Relaxed);
    }

    /// Adds finished units; fails with [`Error::Interrupted`] once cancelled.
    pub fn advance(&self, units: u64) -> Result<()> {
        self.done.fetch_add(units, Ordering::Relaxed);
        self.check()
    }

    /// Fails with [`Error::Interrupted`] once cancelled.
    pub fn check(&self) -> Result<()> {
        if self.cancelled.load(Ordering::Relaxed) { Err(Error::Interrupted) } else { Ok(()) }
    }

    /// Asks the routine to stop at its next check.
    pub fn cancel(&self) {
        self.cancelled.store(true, Ordering::Relaxed);
    }

    /// Units done and units in all (0 while unknown).
    pub fn read(&self) -> (u64, u64) {
        (self.done.load(Ordering::Relaxed), self.total.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_and_cancels() {
        let progress = Progress::new();
        progress.set_total(10);
        progress.advance(4).unwrap();
        assert_eq!(progress.read(), (4, 10));
        progress.cancel();
        assert_eq!(progress.advance(1), Err(Error::Interrupted));
    }
}
