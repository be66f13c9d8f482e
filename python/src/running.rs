//! Work beside the interpreter: it may be stopped by Ctrl-C and says how far it is.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::Duration;

use pyo3::prelude::*;
use rayon::ThreadPoolBuilder;
use voxelcast::error::Result;
use voxelcast::reporter::Reporter;
use voxelcast::resources::{AddressSpace, available_bytes};
use voxelcast::warning::Warning;

use crate::errors::to_python;

/// How long a signal may wait.
const SIGNALS: Duration = Duration::from_millis(50);

/// Threads and memory of a call.
#[derive(Debug, Clone, Copy)]
pub struct Resources {
    /// Threads.
    pub n_threads: usize,
    /// Bytes that matrices and tiles may take: half of what there is, as the command.
    pub memory_bytes: u64,
}

impl Resources {
    /// `n_threads`: as asked for, or one a core.
    pub fn new(n_threads: Option<usize>) -> Self {
        let cores = || std::thread::available_parallelism().map_or(1, usize::from);
        let n_threads = n_threads.unwrap_or_else(cores).clamp(1, 1024);
        let left = AddressSpace::limited(n_threads).map_or(u64::MAX, |space| space.left_bytes());
        Self { n_threads, memory_bytes: available_bytes().min(left) / 2 }
    }
}

/// What the work tells.
enum Event {
    Total(u64),
    Done(u64),
    Note(String),
}

/// Hands on what a fit reports; warnings come back with its summary.
struct Telling(Sender<Event>);

impl Telling {
    fn tell(&self, event: Event) {
        // Nobody listens any more where the listener has failed.
        let _ = self.0.send(event);
    }
}

impl Reporter for Telling {
    fn note(&self, text: &str) {
        self.tell(Event::Note(text.to_owned()));
    }

    fn step(&self, _: &str) {}

    fn warn(&self, _: &Warning) {}

    fn start(&self, _: &str, total: u64) {
        self.tell(Event::Total(total));
    }

    fn advance(&self, n: u64) {
        self.tell(Event::Done(n));
    }

    fn finish(&self) {}
}

/// Runs `work` on threads of its own while the interpreter is free.
///
/// `progress`: called with (voxels done, voxels in all, a sentence or None), in this thread. What it
/// raises ends the work, as a signal does, and is raised once the work has stopped.
/// # Errors
/// What `work` failed with, what a signal handler or `progress` raised.
pub fn run<T: Send>(
    py: Python<'_>,
    resources: Resources,
    progress: Option<&Bound<'_, PyAny>>,
    work: impl FnOnce(&dyn Reporter, &AtomicBool) -> Result<T> + Send,
) -> PyResult<T> {
    let pool = ThreadPoolBuilder::new().num_threads(resources.n_threads).build();
    let pool =
        pool.map_err(|error| pyo3::exceptions::PyRuntimeError::new_err(error.to_string()))?;
    let progress = progress.map(|progress| progress.clone().unbind());
    let cancel = AtomicBool::new(false);
    let (sender, events) = channel();
    let (outcome, raised) = py.detach(move || {
        std::thread::scope(|scope| {
            let (pool, cancel) = (&pool, &cancel);
            // The sender goes with the work: the channel closes when it ends.
            let worker = scope.spawn(move || {
                let telling = Telling(sender);
                pool.install(|| work(&telling, cancel))
            });
            let mut raised: Option<PyErr> = None;
            let (mut done, mut total) = (0, 0);
            loop {
                let note = match events.recv_timeout(SIGNALS) {
                    Ok(Event::Total(n)) => {
                        total = n;
                        Some(None)
                    }
                    Ok(Event::Done(n)) => {
                        done += n;
                        Some(None)
                    }
                    Ok(Event::Note(text)) => Some(Some(text)),
                    Err(RecvTimeoutError::Timeout) => None,
                    Err(RecvTimeoutError::Disconnected) => break,
                };
                if raised.is_some() {
                    continue;
                }
                let asked = Python::attach(|py| {
                    if let (Some(progress), Some(note)) = (&progress, note) {
                        progress.call1(py, (done, total, note))?;
                    }
                    py.check_signals()
                });
                if let Err(error) = asked {
                    cancel.store(true, Ordering::Relaxed);
                    raised = Some(error);
                }
            }
            (worker.join(), raised)
        })
    });
    match (outcome, raised) {
        (_, Some(error)) => Err(error),
        (Ok(result), None) => result.map_err(to_python),
        (Err(panic), None) => std::panic::resume_unwind(panic),
    }
}
