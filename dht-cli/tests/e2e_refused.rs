//! Who has no business in the ring is refused by every member, and the log says why.
//!
//! The test client trusts any server, so that a refusal is the server's own.

mod harness;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use harness::cluster::Cluster;
use harness::{process, until};
use quinn::crypto::rustls::QuicClientConfig;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, SignatureScheme};

const RING: Duration = Duration::from_secs(5);

/// Time for a member to refuse, and for a good connection to prove that it stays.
const REFUSAL: Duration = Duration::from_secs(5);
const STAYS: Duration = Duration::from_secs(1);

#[tokio::test]
async fn only_nodes_of_the_cluster_that_are_not_revoked_may_dial() {
    let mut cluster = Cluster::new(3);
    let dir = cluster.dir().to_path_buf();
    let issue = |ca: &str, name: &str, role: &str| {
        process::expect(
            &dir,
            0,
            &[
                "cert", "issue", "--ca", ca, "--name", name, "--role", role, "--out", ".",
            ],
        );
    };
    issue("ca", "good", "node");
    issue("ca", "client", "client");
    issue("ca", "admin", "admin");
    issue("ca", "revoked", "node");
    process::expect(
        &dir,
        0,
        &["ca", "revoke", "--dir", "ca", "--cert", "revoked.pem"],
    );
    process::expect(
        &dir,
        0,
        &["ca", "init", "--dir", "other", "--cluster", "test.example"],
    );
    issue("other", "foreign", "node");
    for at in 0..3 {
        cluster.start(at);
    }
    cluster.await_ring(0, 3, RING);

    for at in 0..3 {
        let port = cluster.members[at].p2p;
        let open = dial(port, Some("good"), &dir, STAYS).await;
        assert_eq!(open, None, "a good certificate must not be refused");
        for (who, words) in [
            (Some("foreign"), &["issue", "authority"][..]),
            (Some("client"), &["client"]),
            (Some("admin"), &["admin"]),
            (Some("revoked"), &["revoked"]),
            (None, &["no certificate"]),
        ] {
            let before = cluster.log(at).len();
            let refusal = dial(port, who, &dir, REFUSAL).await;
            let name = who.unwrap_or("nobody");
            assert!(
                refusal.is_some(),
                "{} let {name} in\n{}",
                cluster.members[at].name,
                cluster.log(at)
            );
            until("the log says why", REFUSAL, || {
                let news = cluster.log(at)[before..].to_lowercase();
                if words.iter().any(|word| news.contains(word)) {
                    Ok(())
                } else {
                    Err(format!("{name}: {news}"))
                }
            });
        }
    }
    let took = cluster.await_ring(0, 3, RING);
    println!(
        "the ring of three is undisturbed, seen after {:.2} s",
        took.as_secs_f64()
    );
}

/// Dials a node port with a certificate, or none, and waits whether the other end closes the
/// connection: with what, or nothing when it is still open after `patience`.
async fn dial(port: u16, who: Option<&str>, dir: &Path, patience: Duration) -> Option<String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("TLS 1.3")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(TrustAnybody(provider)));
    let mut tls = match who {
        None => builder.with_no_client_auth(),
        Some(name) => {
            let chain = CertificateDer::pem_file_iter(dir.join(format!("{name}.pem")))
                .expect("a file")
                .collect::<Result<Vec<_>, _>>()
                .expect("certificates");
            let key = PrivateKeyDer::from_pem_file(dir.join(format!("{name}.key"))).expect("a key");
            builder.with_client_auth_cert(chain, key).expect("a pair")
        }
    };
    tls.alpn_protocols = vec![chord_net_quic::identity::ALPN.to_vec()];
    let config =
        quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls).expect("TLS 1.3")));
    let mut endpoint = quinn::Endpoint::client(([127, 0, 0, 1], 0).into()).expect("a socket");
    endpoint.set_default_client_config(config);
    let connecting = endpoint
        .connect(([127, 0, 0, 1], port).into(), "node.test.example")
        .expect("a valid name");
    // A dialler is connected before the other end has seen its certificate.
    let connection = match tokio::time::timeout(patience, connecting).await {
        Ok(Ok(connection)) => connection,
        Ok(Err(error)) => return Some(error.to_string()),
        Err(_) => panic!("no handshake within {patience:?}"),
    };
    match tokio::time::timeout(patience, connection.closed()).await {
        Ok(error) => Some(error.to_string()),
        Err(_) => None,
    }
}

#[derive(Debug)]
struct TrustAnybody(Arc<rustls::crypto::CryptoProvider>);

impl ServerCertVerifier for TrustAnybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
