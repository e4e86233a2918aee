//! What the transport may hold and do, in numbers.
//!
//! The defaults of the transport leave a connection's window unlimited, take datagrams, and
//! let a client wander between addresses. Here everything has a bound: an outsider costs at
//! most the incoming buffers and 128 handshakes, a member at most its windows.

use std::sync::Arc;
use std::time::Duration;

use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{ClientConfig, EndpointConfig, IdleTimeout, ServerConfig, TransportConfig, VarInt};
use quinn_proto::HashedConnectionIdGenerator;
use ring::hmac;

use crate::identity::ResetKey;
use crate::peers::BULK_MAX;

/// Unread bytes of one stream.
const STREAM_WINDOW: u32 = 256 << 10;
/// Unread bytes of one connection: full bulk streams leave room for frames.
const CONNECTION_WINDOW: u32 = 3 << 20;
/// Bytes of one connection that were sent and not acknowledged.
const SEND_WINDOW: u64 = 2 << 20;
/// A connection of which nothing is heard for this long is gone.
const IDLE_MS: u32 = 30_000;
/// Attempts that wait to be accepted.
const INCOMING_MAX: usize = 1_024;
/// Bytes buffered for one of them.
const INCOMING_BYTES: u64 = 64 << 10;
/// Bytes buffered for all of them.
const INCOMING_BYTES_ALL: u64 = 8 << 20;
/// What a round trip is assumed to take before one was measured: a lost first packet is sent
/// again after three times this, and must not cost a whole second.
const RTT_ASSUMED: Duration = Duration::from_millis(100);
/// Pace of stateless resets. A restarted host owes one to every peer at once; the bound
/// keeps two confused hosts from answering each other for ever.
const RESET_PACE: Duration = Duration::from_millis(2);

/// Endpoint options. The reset key outlives the process, and so do the connection ids made
/// from it: otherwise a restarted host would not recognise packets of its former life as its
/// own, and would drop them instead of answering with a reset.
pub(super) fn endpoint(key: &ResetKey) -> EndpointConfig {
    let hmac = hmac::Key::new(hmac::HMAC_SHA256, key.bytes());
    let tag = hmac::sign(&hmac, b"connection ids");
    let mut seed = [0; 8];
    seed.copy_from_slice(&tag.as_ref()[..8]);
    let seed = u64::from_be_bytes(seed);
    let mut config = EndpointConfig::new(Arc::new(hmac));
    config.cid_generator(move || Box::new(HashedConnectionIdGenerator::from_key(seed)));
    config.min_reset_interval(RESET_PACE);
    config
}

/// Options for connections that others open.
pub(super) fn server(tls: Arc<QuicServerConfig>) -> ServerConfig {
    let mut config = ServerConfig::with_crypto(tls);
    // The frame stream is the dialler's, beside its bulk streams.
    config.transport_config(Arc::new(transport(BULK_MAX + 1)));
    config.migration(false);
    config.max_incoming(INCOMING_MAX);
    config.incoming_buffer_size(INCOMING_BYTES);
    config.incoming_buffer_size_total(INCOMING_BYTES_ALL);
    config
}

/// Options for connections that we open.
pub(super) fn client(tls: Arc<QuicClientConfig>) -> ClientConfig {
    let mut config = ClientConfig::new(tls);
    config.transport_config(Arc::new(transport(BULK_MAX)));
    config
}

fn transport(streams: usize) -> TransportConfig {
    let mut config = TransportConfig::default();
    let streams = u32::try_from(streams).expect("a handful of streams");
    config.max_concurrent_bidi_streams(VarInt::from_u32(streams));
    config.max_concurrent_uni_streams(VarInt::from_u32(0));
    config.stream_receive_window(VarInt::from_u32(STREAM_WINDOW));
    config.receive_window(VarInt::from_u32(CONNECTION_WINDOW));
    config.send_window(SEND_WINDOW);
    config.datagram_receive_buffer_size(None);
    config.max_idle_timeout(Some(IdleTimeout::from(VarInt::from_u32(IDLE_MS))));
    config.keep_alive_interval(None);
    config.initial_rtt(RTT_ASSUMED);
    config
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::time::Instant;

    use bytes::BytesMut;
    use quinn_proto::{DatagramEvent, Endpoint, Incoming};

    use super::*;
    use crate::identity::{
        self, CertificateAuthority, IdChoice, Identity, Kind, LEAF_VALID, Order,
    };

    /// The transport of a host whose accepting side never gets its turn.
    struct World {
        host: Endpoint,
        now: Instant,
        incoming: Vec<Incoming>,
    }

    impl World {
        /// A datagram from an address of its own for each sender.
        fn receive(&mut self, sender: u16, datagram: &[u8]) {
            let from = SocketAddr::from(([10, 0, (sender >> 8) as u8, sender as u8], 4_710));
            let event = self.host.handle(
                self.now,
                from,
                None,
                None,
                BytesMut::from(datagram),
                &mut Vec::new(),
            );
            match event {
                Some(DatagramEvent::NewConnection(incoming)) => self.incoming.push(incoming),
                Some(DatagramEvent::ConnectionEvent(..)) => panic!("nothing was accepted"),
                Some(DatagramEvent::Response(_)) | None => {}
            }
        }
    }

    /// A host with our limits, and the first datagrams of `count` dials.
    fn world(count: usize) -> (World, Vec<Vec<u8>>) {
        let mut authority = CertificateAuthority::in_memory("test", identity::now()).expect("a CA");
        let order = Order {
            name: "n",
            kind: Kind::Node,
            valid: LEAF_VALID,
            id: IdChoice::Random,
            csr: None,
        };
        let issued = authority.issue(&order, identity::now()).expect("issued");
        let identity = Identity::in_memory(&authority, &issued, identity::now()).expect("good");
        let options = Arc::new(endpoint(&ResetKey::random().expect("random")));
        let server = Arc::new(server(identity.quic_server()));
        let host = Endpoint::new(options.clone(), Some(server), false, None);
        let now = Instant::now();
        let mut dialler = Endpoint::new(options, None, false, None);
        let first = |_| {
            let config = client(identity.quic_client());
            let to = SocketAddr::from(([10, 1, 1, 1], 4_710));
            let (_, mut connection) = dialler
                .connect(now, config, to, "node.test")
                .expect("dials");
            let mut datagram = Vec::new();
            let sent = connection.poll_transmit(now, 1, &mut datagram);
            assert!(sent.is_some(), "a first packet");
            datagram
        };
        let datagrams = (0..count).map(first).collect();
        let incoming = Vec::new();
        let world = World {
            host,
            now,
            incoming,
        };
        (world, datagrams)
    }

    impl Drop for World {
        fn drop(&mut self) {
            for incoming in self.incoming.drain(..) {
                self.host.ignore(incoming);
            }
        }
    }

    #[test]
    fn what_waits_to_be_accepted_holds_eight_mebibytes_and_one_attempt_64_kibibytes() {
        let (mut world, datagrams) = world(200);
        let length = datagrams[0].len() as u64;
        for (sender, datagram) in (0..).zip(&datagrams) {
            for _ in 0..80 {
                world.receive(sender, datagram);
            }
            if sender == 0 {
                let held = world.host.incoming_buffer_bytes();
                assert!(held <= 64 << 10 && held > (64 << 10) - length, "{held}");
            }
        }
        let held = world.host.incoming_buffer_bytes();
        assert!(held <= 8 << 20 && held > (8 << 20) - length, "{held}");
    }

    #[test]
    fn the_1025th_attempt_that_waits_to_be_accepted_is_ignored() {
        let (mut world, datagrams) = world(1_030);
        for (sender, datagram) in (0..).zip(&datagrams) {
            world.receive(sender, datagram);
        }
        assert_eq!(world.incoming.len(), 1_024);
    }
}
