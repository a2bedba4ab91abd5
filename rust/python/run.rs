//! Runs a core routine with the interpreter released, reporting progress and listening for Ctrl-C.

use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use pyo3::prelude::*;

use crate::error::{Error, Result, caught};
use crate::progress::Progress;

use super::args::Int;

/// How often Ctrl-C is looked for and progress is reported.
const POLL: Duration = Duration::from_millis(50);
/// Threads that a pool may have; a system that cannot give them ends the process.
const MOST_THREADS: i64 = 1024;

/// Runs `work` on a pool of `threads` threads (`None`: all cores) and returns its result.
///
/// `callback(done, total)` is called about every 50 ms on the calling thread when it is given. Python runs signal
/// handlers on its main thread only, so the work goes to another thread while this one waits and polls.
pub(super) fn run<T: Send>(
    py: Python<'_>,
    threads: Option<Int>,
    callback: Option<Py<PyAny>>,
    work: impl FnOnce(&Progress) -> Result<T> + Send,
) -> PyResult<T> {
    let threads = match threads {
        None => 0, // all, to rayon
        Some(count) => some_threads(count)?,
    };
    let progress = Progress::new();
    let shared = &progress;
    let outcome = std::thread::scope(|scope| {
        let (sender, mut receiver) = channel();
        scope.spawn(move || {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
            let result = match pool {
                Ok(pool) => caught(|| pool.install(|| work(shared))),
                Err(e) => Err(Error::invalid("threads", format!("cannot start a thread pool: {e}"))),
            };
            // The receiver outlives this thread unless the caller panicked; then nobody is left to tell.
            sender.send(result).ok();
        });
        let mut pending: Option<PyErr> = None;
        loop {
            // A receiver may be sent but not shared, so it is lent as `&mut`.
            let waiting = &mut receiver;
            match py.detach(move || waiting.recv_timeout(POLL)) {
                Ok(result) => {
                    return match pending {
                        Some(e) => Err(e),
                        None => result.map_err(PyErr::from),
                    };
                }
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(pyo3::exceptions::PyRuntimeError::new_err(
                        "the native worker stopped without a result",
                    ));
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
            if pending.is_none() {
                let polled = py.check_signals().and_then(|()| match &callback {
                    Some(f) => f.call1(py, shared.read()).map(|_| ()),
                    None => Ok(()),
                });
                if let Err(e) = polled {
                    shared.cancel();
                    pending = Some(e);
                }
            }
        }
    });
    if let (Ok(_), Some(f)) = (&outcome, callback) {
        f.call1(py, progress.read())?;
    }
    outcome
}

/// Runs short work with the interpreter released.
pub(super) fn detached<T: Send>(py: Python<'_>, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    py.detach(|| caught(work))
}

/// A number of threads.
pub(super) fn some_threads(count: Int) -> Result<usize> {
    let counted = count.within("threads", 1, MOST_THREADS);
    counted.map(|count| count as usize)
}
