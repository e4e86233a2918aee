//! TLS configurations: version 1.3 only, nothing resumed, nothing sent early, no name in clear.
//!
//! A resumed session is not verified again, so a revoked certificate would live on in it; data
//! sent early can be replayed. Neither is worth the round trip it saves on connections that
//! live for hours. The name of the server is the same for all nodes and need not travel.

use std::sync::Arc;

use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use rustls::client::{ResolvesClientCert, Resumption};
use rustls::pki_types::UnixTime;
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::time_provider::TimeProvider;
use rustls::version::TLS13;
use rustls::{ClientConfig, ServerConfig, SignatureScheme};

use super::live::{Identity, Live};
use super::trust::Trust;
use super::verify::{Admits, AnswererVerifier, DiallerVerifier, TrustSource};
use super::{ALPN, provider};

impl Identity {
    /// For the endpoint that nodes dial: only nodes are let in.
    #[must_use]
    pub fn quic_server(&self) -> Arc<QuicServerConfig> {
        let config = QuicServerConfig::try_from(self.node_server_tls());
        Arc::new(config.expect("ring has the suite that QUIC begins with"))
    }

    /// For dialling nodes: only nodes are spoken to.
    #[must_use]
    pub fn quic_client(&self) -> Arc<QuicClientConfig> {
        let config = QuicClientConfig::try_from(self.node_client_tls());
        Arc::new(config.expect("ring has the suite that QUIC begins with"))
    }

    /// What [`Identity::quic_server`] is made of.
    #[must_use]
    pub fn node_server_tls(&self) -> ServerConfig {
        self.server(Admits::Nodes, &[ALPN])
    }

    /// What [`Identity::quic_client`] is made of.
    #[must_use]
    pub fn node_client_tls(&self) -> ClientConfig {
        self.client_tls(&[ALPN])
    }

    /// For the ports of clients, with the protocols offered there in order of preference. A
    /// certificate is asked for but not needed; if there is one it must be a client's or an
    /// administrator's. Which route needs which role is for the caller to judge, by
    /// [`peer_identity`](super::certificate::peer_identity).
    #[must_use]
    pub fn client_port_tls(&self, alpn: &[&[u8]]) -> ServerConfig {
        self.server(Admits::Clients, alpn)
    }

    /// For a client that shows this certificate to nodes.
    #[must_use]
    pub fn client_tls(&self, alpn: &[&[u8]]) -> ClientConfig {
        let presenter = Arc::new(Presenter(self.live.clone()));
        client(TrustSource::Live(self.live.clone()), Some(presenter), alpn)
    }

    fn server(&self, admits: Admits, alpn: &[&[u8]]) -> ServerConfig {
        let source = TrustSource::Live(self.live.clone());
        let mut config = ServerConfig::builder_with_details(provider(), Arc::new(WallClock))
            .with_protocol_versions(&[&TLS13])
            .expect("ring speaks TLS 1.3")
            .with_client_cert_verifier(Arc::new(DiallerVerifier::new(source, admits)))
            .with_cert_resolver(Arc::new(Presenter(self.live.clone())));
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        config.max_early_data_size = 0;
        config.alpn_protocols = owned(alpn);
        config
    }
}

impl Trust {
    /// For a client without a certificate, who may use what needs none.
    #[must_use]
    pub fn client_tls(self: &Arc<Self>, alpn: &[&[u8]]) -> ClientConfig {
        client(TrustSource::Fixed(self.clone()), None, alpn)
    }
}

fn client(source: TrustSource, presenter: Option<Arc<Presenter>>, alpn: &[&[u8]]) -> ClientConfig {
    let builder = ClientConfig::builder_with_details(provider(), Arc::new(WallClock))
        .with_protocol_versions(&[&TLS13])
        .expect("ring speaks TLS 1.3")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnswererVerifier::new(source)));
    let mut config = match presenter {
        Some(presenter) => builder.with_client_cert_resolver(presenter),
        None => builder.with_no_client_auth(),
    };
    config.resumption = Resumption::disabled();
    config.enable_early_data = false;
    config.enable_sni = false;
    config.alpn_protocols = owned(alpn);
    config
}

fn owned(alpn: &[&[u8]]) -> Vec<Vec<u8>> {
    alpn.iter().map(|protocol| protocol.to_vec()).collect()
}

/// Presents the certificate in force, whatever the other side hints at: there is only one.
#[derive(Debug)]
struct Presenter(Arc<Live>);

impl ResolvesServerCert for Presenter {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.material().key.clone())
    }
}

impl ResolvesClientCert for Presenter {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.0.material().key.clone())
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// Our clock instead of the one of rustls, which panics when it is set before 1970.
#[derive(Debug)]
struct WallClock;

impl TimeProvider for WallClock {
    fn current_time(&self) -> Option<UnixTime> {
        Some(super::now())
    }
}
