//! Tasks that end together, and a panic that nobody swallows.
//!
//! A runtime catches the panic of a task and goes on without it: a node that has lost its
//! writer would look alive. So every task of a host, quinn's included, is spawned here. If
//! one panics, the host stops and says [`Stopped::Panicked`]; if the host stops, every task
//! is dropped before it is polled again, so that nothing more is sent.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;

use quinn::{AsyncTimer, AsyncUdpSocket, Runtime, TokioRuntime};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::api::Stopped;

/// The tasks of one host.
#[derive(Clone, Debug)]
pub(crate) struct Tasks {
    quit: CancellationToken,
    stopped: Arc<watch::Sender<Option<Stopped>>>,
}

impl Tasks {
    /// A host that runs, and the way to learn that it does not any more.
    pub(crate) fn new() -> (Self, watch::Receiver<Option<Stopped>>) {
        let (stopped, receiver) = watch::channel(None);
        (
            Self {
                quit: CancellationToken::new(),
                stopped: Arc::new(stopped),
            },
            receiver,
        )
    }

    /// Runs a task until it is done or the host stops.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let quit = self.quit.clone();
        let guard = Guard(self.clone());
        tokio::spawn(async move {
            let _guard = guard;
            // Biased: a host that was killed sends nothing more, not even a goodbye.
            tokio::select! {
                biased;
                () = quit.cancelled() => {}
                () = task => {}
            }
        });
    }

    /// Ends every task of the host. The first reason stays.
    pub(crate) fn stop(&self, why: Stopped) {
        self.stopped.send_if_modified(|stopped| {
            let first = stopped.is_none();
            if first {
                *stopped = Some(why);
            }
            first
        });
        self.quit.cancel();
    }
}

/// Dropped with a task; tells by how.
struct Guard(Tasks);

impl Drop for Guard {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.stop(Stopped::Panicked);
        }
    }
}

/// Tokio, with the transport's own tasks under watch.
pub(crate) struct Watched(pub(crate) Tasks);

impl fmt::Debug for Watched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Watched")
    }
}

impl Runtime for Watched {
    fn new_timer(&self, at: Instant) -> Pin<Box<dyn AsyncTimer>> {
        TokioRuntime.new_timer(at)
    }

    fn spawn(&self, future: Pin<Box<dyn Future<Output = ()> + Send>>) {
        self.0.spawn(future);
    }

    fn wrap_udp_socket(
        &self,
        socket: std::net::UdpSocket,
    ) -> std::io::Result<Arc<dyn AsyncUdpSocket>> {
        TokioRuntime.wrap_udp_socket(socket)
    }

    fn now(&self) -> Instant {
        TokioRuntime.now()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_in_a_task_stops_the_host_and_says_so() {
        let (tasks, mut stopped) = Tasks::new();
        tasks.spawn(async { panic!("on purpose") });
        let why = stopped
            .wait_for(Option::is_some)
            .await
            .expect("the host is held");
        assert_eq!(*why, Some(Stopped::Panicked));
    }

    #[tokio::test]
    async fn stopping_drops_every_task_and_the_first_reason_stays() {
        let (tasks, stopped) = Tasks::new();
        let (held, dropped) = tokio::sync::oneshot::channel::<()>();
        tasks.spawn(async move {
            let _held = held;
            std::future::pending::<()>().await;
        });
        tasks.stop(Stopped::Killed);
        tasks.stop(Stopped::Panicked);
        assert!(dropped.await.is_err(), "dropped without a word");
        assert_eq!(*stopped.borrow(), Some(Stopped::Killed));
    }
}
