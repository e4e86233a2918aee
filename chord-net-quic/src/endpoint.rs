//! One UDP socket that dials and accepts.
//!
//! ```text
//! dialler ── TLS 1.3, both certificates ──▶ listener
//!            who is it? not one we want: close without a frame
//! dialler ── Hello ───────────────────────▶ listener
//! dialler ◀─────────────────────── Hello ── listener     proof that it took our certificate
//! ```
//!
//! **Invariant:** nothing is handled before the other end's hello, which must come within
//! [`HANDSHAKE_TIME`] of the first packet.
//! **Invariant:** an outsider costs a bounded amount of memory before its certificate was
//! verified: see [`limits`].

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::BytesMut;
use chord_core::id::Id;
use chord_core::peer::Addr;
use chord_core::wire::Hello;
use quinn::{Connection, Incoming, RecvStream, VarInt};
use tokio::time::timeout;

use crate::clock;
use crate::identity::{self, Identity};
use crate::link::{Heard, Inlet, Line, Passport, Shared, Shares, later_life};
use crate::peers::{Code, DialError, Introduced, LinkId, is_one_of};
use crate::tasks::Watched;

mod failures;
mod handshakes;
mod hello;
mod limits;
mod penalties;
mod refusals;
mod words;

pub(crate) use failures::Failures;
pub(crate) use handshakes::Handshakes;
use handshakes::{Slot, Verdict};
use hello::{read_hello, who};
pub(crate) use refusals::Refusals;

/// Time for a handshake and the hello that follows it.
const HANDSHAKE_TIME: Duration = Duration::from_secs(5);
/// Waits before a dial that was turned away for want of room is tried again: many nodes may
/// join through one.
const BUSY_PAUSES: [Duration; 3] = [
    Duration::from_millis(50),
    Duration::from_millis(150),
    Duration::from_millis(450),
];

/// The socket, and what every connection of it needs.
#[derive(Clone, Debug)]
pub(crate) struct Endpoint {
    quinn: quinn::Endpoint,
    identity: Identity,
    hello: Hello,
    host: Id,
    shared: Shared,
    next_link: Arc<AtomicU64>,
    handshakes: Arc<Handshakes>,
    shares: Shares,
    refusals: Arc<Refusals>,
    failures: Arc<Failures>,
    /// We closed it: no failure.
    closed: Arc<AtomicBool>,
}

/// Why a connection did not come about, for the log.
#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error("{0}")]
    Connect(#[from] quinn::ConnectError),
    #[error("{0}")]
    Connection(#[from] quinn::ConnectionError),
    #[error("certificate: {0}")]
    Certificate(#[from] identity::IdentityError),
    #[error("it is no node")]
    NoNode,
    #[error("node {0} lives there, not the one looked for")]
    Stranger(Id),
    #[error("hello: {0}")]
    Hello(String),
    #[error("no hello within {} s", HANDSHAKE_TIME.as_secs())]
    Late,
    #[error("too many handshakes at once, most of them from its address")]
    Displaced,
}

impl Refused {
    /// What it means for the calls that wait.
    fn for_peers(&self) -> DialError {
        match self {
            Self::Stranger(found) => DialError::Stranger(*found),
            Self::Connection(quinn::ConnectionError::ApplicationClosed(close))
                if close.error_code == VarInt::from_u32(Code::Stale as u32) =>
            {
                DialError::Superseded(later_life(&close.reason))
            }
            _ => DialError::Failed,
        }
    }

    /// Whether only somebody who receives what is sent to its address fails like this: its
    /// certificate comes in packets that the answer to its first one is needed for.
    fn proves_address(&self) -> bool {
        let Self::Connection(quinn::ConnectionError::TransportError(failed)) = self else {
            return false;
        };
        // The alerts about certificates (RFC 8446, section 6.2).
        matches!(words::alert(failed.code), Some(42..=46 | 48 | 51 | 116))
    }
}

impl Endpoint {
    /// Takes over a bound socket. `host` is our certified id, `hello` what we say first.
    pub(crate) fn new(
        socket: std::net::UdpSocket,
        identity: Identity,
        host: Id,
        hello: Hello,
        reset_key: &identity::ResetKey,
        shared: Shared,
    ) -> std::io::Result<Self> {
        let runtime = Arc::new(Watched(shared.tasks.clone()));
        let mut quinn = quinn::Endpoint::new(
            limits::endpoint(reset_key),
            Some(limits::server(identity.quic_server())),
            socket,
            runtime,
        )?;
        quinn.set_default_client_config(limits::client(identity.quic_client()));
        Ok(Self {
            quinn,
            identity,
            hello,
            host,
            shared,
            next_link: Arc::new(AtomicU64::new(0)),
            handshakes: Arc::default(),
            shares: Shares::default(),
            refusals: Arc::default(),
            failures: Arc::default(),
            closed: Arc::default(),
        })
    }

    /// Counts of refused handshakes.
    pub(crate) fn refusals(&self) -> Arc<Refusals> {
        self.refusals.clone()
    }

    /// Handshakes of others under way.
    pub(crate) fn handshakes(&self) -> Arc<Handshakes> {
        self.handshakes.clone()
    }

    /// Why our own dials failed.
    pub(crate) fn failures(&self) -> Arc<Failures> {
        self.failures.clone()
    }

    /// Takes connections until the socket fails. Pending for ever once we closed it ourselves.
    pub(crate) async fn accept(self) {
        while let Some(incoming) = self.quinn.accept().await {
            let remote = incoming.remote_address();
            let validated = incoming.remote_address_validated();
            match self.handshakes.judge(remote, validated, clock::mono()) {
                Verdict::Take(slot) => {
                    let endpoint = self.clone();
                    let take = async move { endpoint.take(incoming, slot, validated).await };
                    self.shared.tasks.spawn(take);
                }
                Verdict::Retry => {
                    // Only a validated attempt cannot be sent back.
                    let _ = incoming.retry();
                }
                Verdict::Refuse(reason) => {
                    self.refusals.note(remote, &reason);
                    incoming.refuse();
                }
            }
        }
        if self.closed.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
    }

    async fn take(&self, incoming: Incoming, mut slot: Slot, validated: bool) {
        let remote = incoming.remote_address();
        let mut connection = None;
        let listen = timeout(HANDSHAKE_TIME, self.listen(incoming, &mut connection));
        let result = tokio::select! {
            result = listen => result.unwrap_or(Err(Refused::Late)),
            () = slot.displaced() => Err(Refused::Displaced),
        };
        if let Err(refused) = result {
            self.refusals.note(remote, &refused);
            if validated || connection.is_some() || refused.proves_address() {
                self.handshakes.failed(remote, clock::mono());
            }
            if let Some(connection) = connection {
                connection.close(code(&refused), b"");
            }
        }
    }

    async fn listen(
        &self,
        incoming: Incoming,
        kept: &mut Option<Connection>,
    ) -> Result<(), Refused> {
        let connection = incoming.await?;
        *kept = Some(connection.clone());
        let (host, passport) = who(&connection)?;
        let (mut send, mut recv) = connection.accept_bi().await?;
        let (hello, unread) = read_hello(&mut recv).await?;
        let who = self.introduced(host, &hello)?;
        self.say_hello(&mut send).await?;
        self.hand_over(None, who, connection, (send, recv), unread, passport)
            .await;
        Ok(())
    }

    /// Connects to an address and hands the connection to the driver, or tells it why not.
    /// Somebody else than the host of one of `wanted` (if there are any) is left without a
    /// word.
    pub(crate) fn dial(&self, addr: Addr, wanted: Vec<Id>) {
        let endpoint = self.clone();
        self.shared.tasks.spawn(async move {
            let mut connection = None;
            let dial = endpoint.connect(addr, &wanted, &mut connection);
            let result = timeout(HANDSHAKE_TIME, dial).await;
            let Err(refused) = result.unwrap_or(Err(Refused::Late)) else {
                return endpoint.failures.succeeded(addr);
            };
            let serial = endpoint.identity.certified().serial;
            endpoint.failures.note(addr, &refused, &serial);
            if let Some(connection) = connection {
                connection.close(code(&refused), b"");
            }
            let why = refused.for_peers();
            let _ = endpoint
                .shared
                .inbox
                .send(Heard::DialFailed { addr, why })
                .await;
        });
    }

    async fn connect(
        &self,
        addr: Addr,
        wanted: &[Id],
        kept: &mut Option<Connection>,
    ) -> Result<(), Refused> {
        let nowhere = quinn::ConnectError::InvalidRemoteAddress(SocketAddr::from(([0; 4], 0)));
        let socket = addr.to_socket().ok_or(nowhere)?;
        let connection = self.shake_hands(socket).await?;
        *kept = Some(connection.clone());
        let (host, passport) = who(&connection)?;
        if host == self.host || (!wanted.is_empty() && !is_one_of(host, wanted)) {
            return Err(Refused::Stranger(host));
        }
        let (mut send, mut recv) = connection.open_bi().await?;
        self.say_hello(&mut send).await?;
        let (hello, unread) = read_hello(&mut recv).await?;
        let who = self.introduced(host, &hello)?;
        self.hand_over(Some(addr), who, connection, (send, recv), unread, passport)
            .await;
        Ok(())
    }

    /// A handshake, tried again for a while if the other end has too many at the moment.
    async fn shake_hands(&self, socket: SocketAddr) -> Result<Connection, Refused> {
        let mut pauses = BUSY_PAUSES.into_iter();
        loop {
            let connecting = self.quinn.connect(socket, &self.identity.server_name())?;
            match (connecting.await, pauses.next()) {
                (Err(error), Some(pause)) if is_busy(&error) => tokio::time::sleep(pause).await,
                (result, _) => return Ok(result?),
            }
        }
    }

    async fn hand_over(
        &self,
        dialled: Option<Addr>,
        who: Introduced,
        connection: Connection,
        stream: (quinn::SendStream, RecvStream),
        unread: BytesMut,
        passport: Passport,
    ) {
        let link = LinkId(self.next_link.fetch_add(1, Ordering::Relaxed));
        let inlet = Inlet::new(link, self.shares.of(who.host), &self.shared);
        let (line, start) = Line::start(connection, stream, unread, passport, inlet);
        let linked = Heard::Linked {
            link,
            dialled,
            who,
            line,
        };
        if self.shared.inbox.send(linked).await.is_ok() {
            start.go();
        }
    }

    /// Closes every connection with this reason, takes no new ones, and waits until the
    /// other ends were told, at most for `patience`.
    pub(crate) async fn close(&self, code: Code, patience: Duration) {
        self.closed.store(true, Ordering::Relaxed);
        self.quinn.close(VarInt::from_u32(code as u32), b"");
        let _ = timeout(patience, self.quinn.wait_idle()).await;
    }
}

/// Whether the other end turned the attempt away unseen.
fn is_busy(error: &quinn::ConnectionError) -> bool {
    matches!(error, quinn::ConnectionError::ConnectionClosed(close)
        if close.error_code == quinn::TransportErrorCode::CONNECTION_REFUSED)
}

fn code(refused: &Refused) -> VarInt {
    let code = match refused {
        Refused::Stranger(_) => Code::Stranger,
        Refused::Certificate(_) | Refused::NoNode => Code::Certificate,
        Refused::Connect(_)
        | Refused::Connection(_)
        | Refused::Hello(_)
        | Refused::Late
        | Refused::Displaced => Code::Violation,
    };
    VarInt::from_u32(code as u32)
}
