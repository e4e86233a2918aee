//! An authority in a directory of its own, certificates that it would never issue, and
//! handshakes in memory.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use chord_core::id::Id;
use chord_net_quic::identity::{
    self, CertificateAuthority, Identity, IdentityFiles, Issued, Kind, LEAF_VALID, Order,
};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DistinguishedName,
    DnType, ExtendedKeyUsagePurpose, GeneralSubtree, IsCa, Issuer, KeyIdMethod, KeyPair,
    KeyUsagePurpose, NameConstraints, SanType, SerialNumber,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::version::TLS13;
use rustls::{ClientConfig, ClientConnection, Error, ServerConfig, ServerConnection};
use time::OffsetDateTime;

use crate::credulous::{Credulous, provider};

pub(crate) const CLUSTER: &str = "demo.example";

/// A moment `seconds` from now; tests of dates must agree with the clock that rustls reads.
pub(crate) fn in_seconds(seconds: i64) -> UnixTime {
    let at = identity::now().as_secs().saturating_add_signed(seconds);
    UnixTime::since_unix_epoch(Duration::from_secs(at))
}

pub(crate) fn order(name: &str, kind: Kind) -> Order<'_> {
    Order {
        name,
        kind,
        valid: LEAF_VALID,
        id: identity::IdChoice::Random,
        csr: None,
    }
}

/// An authority in a temporary directory, whose key a test may therefore misuse.
pub(crate) struct World {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) ca: CertificateAuthority,
}

impl World {
    pub(crate) fn new() -> Self {
        Self::of(CLUSTER)
    }

    pub(crate) fn of(cluster: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let ca = CertificateAuthority::init(dir.path(), cluster, identity::now()).unwrap();
        Self { dir, ca }
    }

    pub(crate) fn issue(&mut self, name: &str, kind: Kind) -> Issued {
        self.ca.issue(&order(name, kind), identity::now()).unwrap()
    }

    pub(crate) fn identity(&mut self, name: &str, kind: Kind) -> Identity {
        let issued = self.issue(name, kind);
        Identity::in_memory(&self.ca, &issued, identity::now()).unwrap()
    }

    /// Issues and saves; answers the files as a configuration names them.
    pub(crate) fn files(&mut self, name: &str, kind: Kind) -> IdentityFiles {
        self.issue(name, kind).save(self.dir.path(), name).unwrap();
        self.files_of(name)
    }

    pub(crate) fn files_of(&self, name: &str) -> IdentityFiles {
        let dir = self.dir.path();
        IdentityFiles {
            ca: dir.join("ca.pem"),
            cert: dir.join(format!("{name}.pem")),
            key: dir.join(format!("{name}.key")),
            crl: dir.join("ca.crl"),
            crl_strict: false,
        }
    }

    /// The authority's key outside of the authority: what a careless operator could sign with.
    pub(crate) fn issuer(&self) -> Issuer<'static, KeyPair> {
        let key = std::fs::read_to_string(self.dir.path().join("ca.key")).unwrap();
        let key = KeyPair::from_pem(&key).unwrap();
        Issuer::from_ca_cert_pem(self.ca.certificate_pem(), key).unwrap()
    }
}

/// A certificate with its key, as TLS wants them.
pub(crate) struct Pair {
    pub(crate) leaf: CertificateDer<'static>,
    pub(crate) key: PrivateKeyDer<'static>,
}

impl Pair {
    pub(crate) fn of(issued: &Issued) -> Self {
        let key = KeyPair::from_pem(issued.key_pem().unwrap()).unwrap();
        Self {
            leaf: issued.certificate().clone(),
            key: key.into(),
        }
    }

    pub(crate) fn signer(&self) -> Arc<SingleCertAndKey> {
        let key = provider()
            .key_provider
            .load_private_key(self.key.clone_key())
            .unwrap();
        // Not `from_der`: a certificate with somebody else's key must be possible.
        Arc::new(SingleCertAndKey::from(CertifiedKey::new(
            vec![self.leaf.clone()],
            key,
        )))
    }
}

/// The parameters of a good node certificate, to be spoiled one by one.
pub(crate) fn node_params(cluster: &str) -> CertificateParams {
    let id = Id::hash(b"a node");
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::CommonName, "by-hand");
    params.subject_alt_names = dns(&[&format!("{id}.node.{cluster}"), &format!("node.{cluster}")]);
    params.extended_key_usages = vec![
        ExtendedKeyUsagePurpose::ServerAuth,
        ExtendedKeyUsagePurpose::ClientAuth,
    ];
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.not_before = moment(-300);
    params.not_after = moment(86_400);
    params
}

/// Parameters of an authority for `cluster`.
pub(crate) fn authority_params(cluster: &str, name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = moment(-300);
    params.not_after = moment(86_400);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.name_constraints = Some(NameConstraints {
        permitted_subtrees: vec![GeneralSubtree::DnsName(cluster.to_owned())],
        excluded_subtrees: Vec::new(),
    });
    params
}

pub(crate) fn dns(names: &[&str]) -> Vec<SanType> {
    names
        .iter()
        .map(|&name| SanType::DnsName(name.try_into().unwrap()))
        .collect()
}

pub(crate) fn moment(seconds: i64) -> OffsetDateTime {
    let at = i64::try_from(in_seconds(seconds).as_secs()).unwrap();
    OffsetDateTime::from_unix_timestamp(at).unwrap()
}

pub(crate) fn sign(params: &CertificateParams, issuer: &Issuer<'_, KeyPair>) -> Pair {
    let key = KeyPair::generate().unwrap();
    let leaf = params.signed_by(&key, issuer).unwrap().der().clone();
    Pair {
        leaf,
        key: key.into(),
    }
}

pub(crate) fn self_signed(params: &CertificateParams) -> Pair {
    let key = KeyPair::generate().unwrap();
    let leaf = params.self_signed(&key).unwrap().der().clone();
    Pair {
        leaf,
        key: key.into(),
    }
}

pub(crate) fn key_of(pem: &str) -> PrivateKeyDer<'static> {
    PrivatePkcs8KeyDer::from(KeyPair::from_pem(pem).unwrap()).into()
}

pub(crate) fn write(path: &Path, text: &str) {
    std::fs::write(path, text).unwrap();
}

/// A dialler that shows `pair` and believes everybody.
pub(crate) fn careless_dialler(pair: Option<&Pair>, alpn: &[u8]) -> ClientConfig {
    let builder = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Credulous::new());
    let mut config = match pair {
        Some(pair) => builder.with_client_cert_resolver(pair.signer()),
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![alpn.to_vec()];
    config
}

/// An answerer that shows `pair` and believes everybody.
pub(crate) fn careless_answerer(pair: &Pair, alpn: &[u8]) -> ServerConfig {
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])
        .unwrap()
        .with_client_cert_verifier(Credulous::new())
        .with_cert_resolver(pair.signer());
    config.alpn_protocols = vec![alpn.to_vec()];
    config
}

/// How a handshake in memory ended.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// Why the dialler gave up, if it did.
    pub(crate) dialler: Option<Error>,
    /// Why the answerer gave up, if it did.
    pub(crate) answerer: Option<Error>,
    /// Application bytes that reached the dialler.
    pub(crate) to_dialler: usize,
    /// Application bytes that reached the answerer.
    pub(crate) to_answerer: usize,
    /// The chain that the answerer saw.
    pub(crate) seen_by_answerer: Vec<CertificateDer<'static>>,
    /// The chain that the dialler saw.
    pub(crate) seen_by_dialler: Vec<CertificateDer<'static>>,
    /// The name that the dialler sent in clear.
    pub(crate) sni: Option<String>,
    /// Whether the dialler holds anything to resume with.
    pub(crate) handshake: Option<rustls::HandshakeKind>,
}

impl Outcome {
    pub(crate) fn accepted(&self) -> bool {
        self.dialler.is_none() && self.answerer.is_none()
    }
}

const HELLO: &[u8] = b"application bytes of the dialler";
const REPLY: &[u8] = b"application bytes of the answerer";

/// Carries bytes between two ends until neither has anything to say. Both write application
/// bytes as early as TLS lets them.
pub(crate) fn shake(dialler: Arc<ClientConfig>, answerer: Arc<ServerConfig>) -> Outcome {
    let name = ServerName::try_from("whoever.it.is").unwrap();
    let mut client = ClientConnection::new(dialler, name).unwrap();
    let mut server = ServerConnection::new(answerer).unwrap();
    let mut outcome = Outcome {
        dialler: None,
        answerer: None,
        to_dialler: 0,
        to_answerer: 0,
        seen_by_answerer: Vec::new(),
        seen_by_dialler: Vec::new(),
        sni: None,
        handshake: None,
    };
    let (mut hello, mut reply) = (Some(HELLO), Some(REPLY));
    for _ in 0..20 {
        let up = drain(&mut client);
        let down = drain(&mut server);
        if up.is_empty() && down.is_empty() && hello.is_none() && reply.is_none() {
            break;
        }
        if outcome.answerer.is_none() {
            (outcome.to_answerer, outcome.answerer) = feed(&mut server, &up, outcome.to_answerer);
        }
        if outcome.dialler.is_none() {
            (outcome.to_dialler, outcome.dialler) = feed(&mut client, &down, outcome.to_dialler);
        }
        if !client.is_handshaking() && outcome.dialler.is_none() {
            say(&mut client, &mut hello);
        }
        if !server.is_handshaking() && outcome.answerer.is_none() {
            say(&mut server, &mut reply);
        }
    }
    let chain = |chain: Option<&[CertificateDer<'static>]>| chain.unwrap_or_default().to_vec();
    outcome.seen_by_answerer = chain(server.peer_certificates());
    outcome.seen_by_dialler = chain(client.peer_certificates());
    outcome.sni = server.server_name().map(str::to_owned);
    outcome.handshake = client.handshake_kind();
    outcome
}

fn drain<Data>(
    connection: &mut impl std::ops::DerefMut<Target = rustls::ConnectionCommon<Data>>,
) -> Vec<u8> {
    let mut bytes = Vec::new();
    while connection.wants_write() {
        connection.write_tls(&mut bytes).unwrap();
    }
    bytes
}

fn say<Data>(
    connection: &mut impl std::ops::DerefMut<Target = rustls::ConnectionCommon<Data>>,
    words: &mut Option<&[u8]>,
) {
    use std::io::Write;
    if let Some(words) = words.take() {
        connection.writer().write_all(words).unwrap();
    }
}

/// Feeds `bytes`; answers the application bytes read so far and the failure, if any.
fn feed<Data>(
    connection: &mut impl std::ops::DerefMut<Target = rustls::ConnectionCommon<Data>>,
    mut bytes: &[u8],
    mut read: usize,
) -> (usize, Option<Error>) {
    use std::io::Read;
    while !bytes.is_empty() {
        connection.read_tls(&mut bytes).unwrap();
        let failure = connection.process_new_packets().err();
        let mut plain = Vec::new();
        // Whatever was decrypted counts, even if the connection failed afterwards.
        let _ = connection.reader().read_to_end(&mut plain);
        read += plain.len();
        if failure.is_some() {
            return (read, failure);
        }
    }
    (read, None)
}

/// A list in the name of the world's authority, signed by `key`.
pub(crate) fn list_by(world: &World, key: KeyPair, number: u64, next_update: i64) -> String {
    let issuer = Issuer::from_ca_cert_pem(world.ca.certificate_pem(), key).unwrap();
    let params = CertificateRevocationListParams {
        this_update: moment(next_update - 86_400),
        next_update: moment(next_update),
        crl_number: SerialNumber::from(number),
        issuing_distribution_point: None,
        revoked_certs: Vec::new(),
        key_identifier_method: KeyIdMethod::Sha256,
    };
    params.signed_by(&issuer).unwrap().pem().unwrap()
}

pub(crate) fn own_key(world: &World) -> KeyPair {
    KeyPair::from_pem(&std::fs::read_to_string(world.dir.path().join("ca.key")).unwrap()).unwrap()
}
