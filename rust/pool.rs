//! Pools for short work, kept between calls.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::error::{Error, Result};

static POOLS: Mutex<Option<HashMap<usize, Arc<ThreadPool>>>> = Mutex::new(None);

/// Runs `work` on a pool of `threads` threads; work of milliseconds cannot wait for a pool to start.
///
/// # Errors
/// No pool can be started.
pub fn on<T: Send>(threads: usize, work: impl FnOnce() -> T + Send) -> Result<T> {
    let pool = {
        let mut pools = POOLS.lock().unwrap_or_else(PoisonError::into_inner);
        let pools = pools.get_or_insert_default();
        match pools.get(&threads) {
            Some(pool) => Arc::clone(pool),
            None => {
                let built = ThreadPoolBuilder::new().num_threads(threads).build();
                let built = built.map_err(|e| Error::invalid("threads", format!("cannot start a thread pool: {e}")))?;
                Arc::clone(pools.entry(threads).or_insert(Arc::new(built)))
            }
        }
    };
    Ok(pool.install(work))
}
