//! Handshakes that begin and never end: a dialler that takes the answer to its first packet,
//! or to the one after it was sent back, and says nothing more.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use bytes::BytesMut;
use chord_net_quic::identity::Identity;
use quinn_proto::{
    ClientConfig, Connection, ConnectionError, ConnectionHandle, DatagramEvent, Endpoint,
    EndpointConfig, Event, TransportErrorCode,
};
use tokio::net::UdpSocket;

use super::PATIENCE;

/// What became of a first packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Met {
    /// The other end goes on with the handshake.
    Taken,
    /// It wants a proof of the address first.
    SentBack,
    /// It has no room.
    Refused,
}

/// One such dialler.
pub(crate) struct HalfOpen {
    socket: UdpSocket,
    endpoint: Endpoint,
    handle: ConnectionHandle,
    connection: Connection,
}

impl HalfOpen {
    /// Sends the first packet.
    pub(crate) async fn dial(to: SocketAddr, identity: &Identity) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
        socket.connect(to).await.expect("an address");
        let options = Arc::new(EndpointConfig::default());
        let mut endpoint = Endpoint::new(options, None, false, None);
        let config = ClientConfig::new(identity.quic_client());
        let (handle, connection) = endpoint
            .connect(Instant::now(), config, to, "node.test")
            .expect("dials");
        let mut dialler = Self {
            socket,
            endpoint,
            handle,
            connection,
        };
        dialler.send_one().await;
        dialler
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.socket.local_addr().expect("bound")
    }

    /// Takes the answer. Who was sent back has then dialled again, with the proof.
    pub(crate) async fn answer(&mut self) -> Met {
        let mut datagram = [0; 2_048];
        let receiving = tokio::time::timeout(PATIENCE, self.socket.recv(&mut datagram));
        let length = receiving.await.expect("an answer").expect("received");
        // The type of a packet with a long header (RFC 9000, section 17.2).
        let is_retry = datagram[0] & 0xf0 == 0xf0;
        let from = self.socket.peer_addr().expect("connected");
        let bytes = BytesMut::from(&datagram[..length]);
        let now = Instant::now();
        let event = self
            .endpoint
            .handle(now, from, None, None, bytes, &mut Vec::new());
        match event {
            Some(DatagramEvent::ConnectionEvent(handle, event)) => {
                assert_eq!(handle, self.handle);
                self.connection.handle_event(event);
            }
            Some(_) | None => panic!("no answer to what was sent"),
        }
        if is_retry {
            self.send_one().await;
            return Met::SentBack;
        }
        while let Some(event) = self.connection.poll() {
            if let Event::ConnectionLost { reason } = event {
                return refused(&reason);
            }
        }
        Met::Taken
    }

    async fn send_one(&mut self) {
        let mut datagram = Vec::new();
        let sent = self
            .connection
            .poll_transmit(Instant::now(), 1, &mut datagram);
        assert!(sent.is_some(), "something to send");
        self.socket.send(&datagram).await.expect("sent");
    }
}

fn refused(reason: &ConnectionError) -> Met {
    match reason {
        ConnectionError::ConnectionClosed(close)
            if close.error_code == TransportErrorCode::CONNECTION_REFUSED =>
        {
            Met::Refused
        }
        other => panic!("{other}"),
    }
}
