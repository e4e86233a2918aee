//! A client that speaks QUIC and nothing else: it trusts every server, presents whatever
//! certificate it is given, and writes what it likes.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use chord_core::peer::Addr;
use chord_core::time::Instant;
use chord_core::wire::{self, Frame, Hello};
use chord_net_quic::identity::{ALPN, Issued};
use quinn::{Connection, RecvStream, SendStream};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

#[path = "credulous.rs"]
mod credulous;

use credulous::{Credulous, provider};

const LOOPBACK: [u8; 4] = [127, 0, 0, 1];

/// A client on a port of its own, with this certificate or none.
pub(crate) fn endpoint(issued: Option<&Issued>) -> quinn::Endpoint {
    endpoint_at(LOOPBACK, issued)
}

/// The same at another address.
pub(crate) fn endpoint_at(ip: [u8; 4], issued: Option<&Issued>) -> quinn::Endpoint {
    let pair = issued.map(|issued| {
        let key = issued.key_pem().expect("made with its key");
        (issued.certificate_pem(), key)
    });
    bound(ip, pair)
}

/// The same, with certificate and key in PEM form.
pub(crate) fn endpoint_of(pair: Option<(&str, &str)>) -> quinn::Endpoint {
    bound(LOOPBACK, pair)
}

fn bound(ip: [u8; 4], pair: Option<(&str, &str)>) -> quinn::Endpoint {
    let tls = rustls::ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("TLS 1.3 is there")
        .dangerous()
        .with_custom_certificate_verifier(Credulous::new());
    let mut tls = match pair {
        None => tls.with_no_client_auth(),
        Some((chain, key)) => {
            let chain = CertificateDer::pem_slice_iter(chain.as_bytes())
                .collect::<Result<Vec<_>, _>>()
                .expect("PEM");
            let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).expect("PEM");
            tls.with_client_auth_cert(chain, key).expect("they match")
        }
    };
    tls.alpn_protocols = vec![ALPN.to_vec()];
    let tls = quinn::crypto::rustls::QuicClientConfig::try_from(tls).expect("fit for QUIC");
    let mut endpoint = quinn::Endpoint::client(SocketAddr::from((ip, 0))).expect("a socket");
    endpoint.set_default_client_config(quinn::ClientConfig::new(Arc::new(tls)));
    endpoint
}

/// Connects, as far as the client can tell.
pub(crate) async fn connect(endpoint: &quinn::Endpoint, to: SocketAddr) -> Connection {
    endpoint
        .connect(to, "node.test")
        .expect("an address")
        .await
        .expect("a handshake")
}

/// The hello of a decent node.
pub(crate) fn hello(incarnation: u32) -> Frame {
    hello_of("test", incarnation)
}

fn hello_of(cluster: &str, incarnation: u32) -> Frame {
    Frame::Hello(Hello {
        wire_version: 1,
        cluster: cluster.to_owned(),
        incarnation,
        addr: Addr::v4(127, 0, 0, 1, 9),
        positions: 1,
        service: None,
    })
}

/// A frame with its length before it.
pub(crate) fn bytes(frame: &Frame) -> Bytes {
    let mut body = BytesMut::new();
    wire::encode(frame, Instant(0), &mut body).expect("a frame");
    prefixed(&body)
}

/// Any bytes with their length before them.
pub(crate) fn prefixed(body: &[u8]) -> Bytes {
    let mut out = BytesMut::new();
    out.put_u32(u32::try_from(body.len()).expect("short"));
    out.extend_from_slice(body);
    out.freeze()
}

/// The next frame of a stream.
pub(crate) async fn read(recv: &mut RecvStream) -> Frame {
    let mut length = [0; 4];
    recv.read_exact(&mut length).await.expect("a length");
    let mut body = vec![0; u32::from_be_bytes(length) as usize];
    recv.read_exact(&mut body).await.expect("a frame");
    wire::decode(body.into(), Instant(0)).expect("a frame")
}

/// Connects and exchanges hellos.
pub(crate) async fn introduced(
    endpoint: &quinn::Endpoint,
    to: SocketAddr,
) -> (Connection, SendStream, RecvStream) {
    introduced_in("test", endpoint, to).await
}

/// The same in a cluster of this name.
pub(crate) async fn introduced_in(
    cluster: &str,
    endpoint: &quinn::Endpoint,
    to: SocketAddr,
) -> (Connection, SendStream, RecvStream) {
    let connection = connect(endpoint, to).await;
    let (mut send, mut recv) = connection.open_bi().await.expect("a stream");
    let hello = bytes(&hello_of(cluster, 1));
    send.write_all(&hello).await.expect("written");
    assert!(matches!(read(&mut recv).await, Frame::Hello(_)));
    (connection, send, recv)
}
