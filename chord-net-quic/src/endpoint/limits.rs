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
