//! Threads that drive hosts, each with a runtime of its own.
//!
//! A host never moves: its endpoint, connections, nodes and store live on one thread, so
//! that a request passes through them without a lock or a switch. Several hosts share a few
//! threads, about one for each core.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{mpsc, oneshot};

use crate::api::StartError;

/// Something to do on a driver thread, inside its runtime.
type Job = Box<dyn FnOnce() + Send>;

/// Threads that drive hosts. They end when this and every node on them is dropped.
#[derive(Debug)]
pub struct DriverThreads {
    threads: Vec<Arc<Thread>>,
    next: AtomicUsize,
}

/// One of them, alive as long as somebody holds it.
#[derive(Debug)]
pub(crate) struct Thread {
    jobs: mpsc::UnboundedSender<Job>,
}

impl DriverThreads {
    /// Starts `count` threads, at least one.
    ///
    /// # Errors
    /// A thread or its runtime could not be made.
    pub fn new(count: usize) -> io::Result<Self> {
        let threads = (0..count.max(1))
            .map(Thread::start)
            .collect::<io::Result<_>>()?;
        Ok(Self {
            threads,
            next: AtomicUsize::new(0),
        })
    }

    /// The thread whose turn it is.
    pub(crate) fn pick(&self) -> Arc<Thread> {
        let at = self.next.fetch_add(1, Ordering::Relaxed) % self.threads.len();
        self.threads[at].clone()
    }
}

impl Thread {
    fn start(number: usize) -> io::Result<Arc<Self>> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let (jobs, mut todo) = mpsc::unbounded_channel::<Job>();
        std::thread::Builder::new()
            .name(format!("driver-{number}"))
            .spawn(move || {
                runtime.block_on(async {
                    while let Some(job) = todo.recv().await {
                        job();
                    }
                });
                // Tasks that are still there are dropped unseen, and a resolver that hangs must
                // not hold the thread.
                runtime.shutdown_background();
            })?;
        Ok(Arc::new(Self { jobs }))
    }

    /// Runs something on the thread, inside its runtime, and returns what it returned.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> Result<T, StartError> + Send + 'static,
    ) -> Result<T, StartError> {
        let ended = || StartError::Thread(io::Error::other("it has ended"));
        let (answer, answered) = oneshot::channel();
        let job = Box::new(move || {
            let _ = answer.send(job());
        });
        self.jobs.send(job).map_err(|_| ended())?;
        answered.await.map_err(|_| ended())?
    }
}
