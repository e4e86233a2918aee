//! The handle of a running host.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use chord_core::event::{Command, Failure, Outcome, View};
use chord_core::id::Id;
use chord_core::message::{Key, Record, Version};
use chord_core::peer::Peer;
use tokio::sync::{mpsc, oneshot};

use crate::api::{Found, Held, HostStatus, NodeConfig, PutOptions, Shutdown, StartError, Stopped};
use crate::counters::Counters;
use crate::driver::Ask;
use crate::driver::start::{self, Running};
use crate::identity::{self, IdentityError, IdentityFiles};
use crate::threads::{DriverThreads, Thread};

/// A running host, to be cloned and shared. When the last handle is dropped, the host stops
/// at once, without goodbye.
#[derive(Clone, Debug)]
pub struct Node {
    running: Running,
    /// The thread lives as long as somebody may need it.
    _thread: Arc<Thread>,
}

impl Node {
    /// Starts a host on a driver thread of its own. Returns once the socket is bound and
    /// the store is open; see [`Node::joined`] for membership.
    ///
    /// # Errors
    /// Whatever kept it from starting; nothing is left running.
    pub async fn start(config: NodeConfig) -> Result<Self, StartError> {
        let threads = DriverThreads::new(1).map_err(StartError::Thread)?;
        Self::start_on(&threads, config).await
    }

    /// Starts a host on one of `threads`, shared with others.
    ///
    /// # Errors
    /// Whatever kept it from starting; nothing is left running.
    pub async fn start_on(threads: &DriverThreads, config: NodeConfig) -> Result<Self, StartError> {
        let thread = threads.pick();
        let running = thread.run(move || start::start(config)).await?;
        Ok(Self {
            running,
            _thread: thread,
        })
    }

    /// Ring id of the host's first position: the one in its certificate.
    #[must_use]
    pub fn id(&self) -> Id {
        self.running.id
    }

    /// What others dial.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.running.addr
    }

    /// Resolves when every position of the host is a member of the ring.
    ///
    /// # Errors
    /// The host ended before.
    pub async fn joined(&self) -> Result<(), Stopped> {
        let mut joined = self.running.board.watch_joined();
        tokio::select! {
            result = joined.wait_for(|joined| *joined) => match result {
                Ok(_) => Ok(()),
                Err(_) => Err(self.stopped().await),
            },
            why = self.stopped() => Err(why),
        }
    }

    /// Stores a record; a majority of its holders have it when this returns.
    ///
    /// # Errors
    /// See [`Failure`]: each variant says what to do.
    pub async fn put(
        &self,
        key: Key,
        value: Bytes,
        options: PutOptions,
    ) -> Result<Version, Failure> {
        let PutOptions {
            ttl,
            copies,
            expected,
        } = options;
        match self
            .ask(Command::Put {
                key,
                value,
                ttl,
                copies,
                expected,
            })
            .await?
        {
            Outcome::Written { version } => Ok(version),
            _ => Err(Failure::Invalid),
        }
    }

    /// Reads a record; `None` is certain. `quorum` asks a majority of its holders.
    ///
    /// # Errors
    /// See [`Failure`].
    pub async fn get(&self, key: Key, quorum: bool) -> Result<Option<Record>, Failure> {
        match self.ask(Command::Get { key, quorum }).await? {
            Outcome::Got { record } => Ok(record),
            _ => Err(Failure::Invalid),
        }
    }

    /// Deletes a record; a missing one is no failure.
    ///
    /// # Errors
    /// See [`Failure`].
    pub async fn remove(&self, key: Key, expected: Option<Version>) -> Result<Version, Failure> {
        match self.ask(Command::Delete { key, expected }).await? {
            Outcome::Written { version } => Ok(version),
            _ => Err(Failure::Invalid),
        }
    }

    /// Finds the owner of a position, and the way to it.
    ///
    /// # Errors
    /// See [`Failure`].
    pub async fn lookup(&self, target: Id) -> Result<Found, Failure> {
        match self.ask(Command::Lookup { target }).await? {
            Outcome::Owner { owner, hops } => Ok(Found { owner, hops }),
            _ => Err(Failure::Invalid),
        }
    }

    /// This node's view of the ring, or, asked over the ring, that of another member.
    ///
    /// # Errors
    /// See [`Failure`].
    pub async fn view(&self, of: Option<Peer>) -> Result<View, Failure> {
        match self.ask(Command::View { of }).await? {
            Outcome::View(view) => Ok(view),
            _ => Err(Failure::Invalid),
        }
    }

    /// Live records that this host itself holds, in the order of the ring, until their keys
    /// and values reach `bytes`.
    ///
    /// # Errors
    /// [`Failure::Overloaded`]: others list already; [`Failure::Storage`]: the store does
    /// not answer.
    pub async fn held(&self, bytes: usize) -> Result<Held, Failure> {
        let (answer, answered) = oneshot::channel();
        let ask = Ask::List { bytes, answer };
        let sent = self.running.asks.send(ask).await;
        sent.map_err(|_| Failure::NotMember)?;
        answered.await.unwrap_or(Err(Failure::NotMember))
    }

    /// Where another member serves clients of the ring ([`NodeConfig::service`]), asked from
    /// that member; `None` if it serves none.
    ///
    /// # Errors
    /// It cannot be asked: see [`Failure`].
    pub async fn service_of(&self, member: Peer) -> Result<Option<SocketAddr>, Failure> {
        // Once it has answered anything there is a connection, and every hello says it.
        self.view(Some(member)).await?;
        let (answer, answered) = oneshot::channel();
        let ask = Ask::Service {
            of: member.id,
            answer,
        };
        let sent = self.running.asks.send(ask).await;
        sent.map_err(|_| Failure::NotMember)?;
        answered.await.map_err(|_| Failure::NotMember)
    }

    /// How the host is.
    ///
    /// # Errors
    /// See [`Failure`].
    pub async fn status(&self) -> Result<HostStatus, Failure> {
        let (answer, answered) = oneshot::channel();
        let ask = Ask::Status { answer };
        self.running
            .asks
            .send(ask)
            .await
            .map_err(|_| Failure::NotMember)?;
        answered.await.unwrap_or(Err(Failure::NotMember))
    }

    /// What the host counted so far.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.running.board.counters()
    }

    /// Hands everything over, leaves the ring, closes all connections and stops. If the host
    /// stops for another reason meanwhile, nothing counts as handed over.
    pub async fn shutdown(&self) -> Shutdown {
        let (answer, answered) = oneshot::channel();
        if self.running.asks.send(Ask::Leave { answer }).await.is_err() {
            return Shutdown::default();
        }
        answered.await.unwrap_or_default()
    }

    /// Stops at once and says goodbye to nobody, like a crash: not one more packet leaves.
    pub fn kill(&self) {
        self.running.tasks.stop(Stopped::Killed);
    }

    /// Resolves when the host has ended, with the reason. After [`Stopped::Panicked`] the
    /// process should end, too.
    pub async fn stopped(&self) -> Stopped {
        let mut stopped = self.running.stopped.clone();
        match stopped.wait_for(Option::is_some).await {
            Ok(why) => why.clone().unwrap_or(Stopped::Killed),
            Err(_) => Stopped::Killed,
        }
    }

    /// Reads certificates, authorities and lists of the revoked again, and verifies every
    /// live connection by them.
    ///
    /// # Errors
    /// A file is bad; what was in force stays.
    pub async fn reload(&self, files: &IdentityFiles) -> Result<(), IdentityError> {
        self.running.identity.reload(files, identity::now())?;
        self.verify_peers().await;
        Ok(())
    }

    /// Verifies every live connection by the identity in force: after
    /// [`Identity::reload`](crate::identity::Identity::reload) on a clone of it.
    pub async fn verify_peers(&self) {
        // A host that has stopped has no connections.
        let _ = self.running.asks.send(Ask::Verify).await;
    }

    async fn ask(&self, command: Command) -> Result<Outcome, Failure> {
        if self.running.stopped.borrow().is_some() {
            return Err(Failure::NotMember); // Its tasks may still be on their way out.
        }
        let (answer, answered) = oneshot::channel();
        let ask = Ask::Command { command, answer };
        match self.running.asks.send(ask).await {
            Ok(()) => {}
            Err(mpsc::error::SendError(_)) => return Err(Failure::NotMember),
        }
        // Dropped unanswered: the host stopped, and what was asked may have been done.
        answered.await.unwrap_or(Err(Failure::TimedOut))
    }
}
