//! Every bad certificate, dialling a good node and answering one; and good ones as a control.

use std::sync::Arc;

use chord_core::id::Id;
use chord_net_quic::identity::{self, ALPN, Identity, Kind, Role, Trust, peer_identity};
use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, Issuer, KeyPair, SanType};
use rustls::pki_types::CertificateDer;

use crate::support::{
    CLUSTER, Outcome, Pair, World, authority_params, careless_answerer, careless_dialler, dns,
    key_of, moment, node_params, order, self_signed, shake, sign,
};

/// What is wrong with a certificate, and how it is made so.
struct Spoilt(&'static str, fn(&mut CertificateParams));

/// Certificates signed by the right authority with the wrong contents.
const SPOILT: [Spoilt; 23] = [
    Spoilt("expired", |p| p.not_after = moment(-60)),
    Spoilt("not yet valid", |p| p.not_before = moment(3_600)),
    Spoilt("for servers only", |p| {
        p.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth]
    }),
    Spoilt("for clients only", |p| {
        p.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth]
    }),
    Spoilt("for no purpose named", |p| p.extended_key_usages.clear()),
    Spoilt("for any purpose", |p| {
        p.extended_key_usages = vec![ExtendedKeyUsagePurpose::Any]
    }),
    Spoilt("for one purpose more", |p| {
        p.extended_key_usages
            .push(ExtendedKeyUsagePurpose::CodeSigning)
    }),
    Spoilt("wildcard name", |p| {
        p.subject_alt_names[0] = name(&format!("*.node.{CLUSTER}"))
    }),
    Spoilt("wildcard general name", |p| {
        p.subject_alt_names[1] = name(&format!("*.{CLUSTER}"))
    }),
    Spoilt("address among the names", |p| {
        p.subject_alt_names
            .push(SanType::IpAddress([127, 0, 0, 1].into()));
    }),
    Spoilt("address in place of a name", |p| {
        p.subject_alt_names[0] = SanType::IpAddress([127, 0, 0, 1].into());
    }),
    Spoilt("one name more", |p| {
        p.subject_alt_names.push(name(&format!("x.node.{CLUSTER}")))
    }),
    Spoilt("two ids", |p| {
        let other = Id::hash(b"another");
        p.subject_alt_names
            .push(name(&format!("{other}.node.{CLUSTER}")));
    }),
    Spoilt("names swapped", |p| p.subject_alt_names.reverse()),
    Spoilt("no names", |p| p.subject_alt_names.clear()),
    Spoilt("general name missing", |p| p.subject_alt_names.truncate(1)),
    Spoilt("id missing", |p| {
        p.subject_alt_names.remove(0);
    }),
    Spoilt("id not hexadecimal", |p| {
        p.subject_alt_names[0] = id_name(&"g".repeat(40))
    }),
    Spoilt("id in upper case", |p| {
        p.subject_alt_names[0] = id_name(&Id::hash(b"a node").to_string().to_uppercase());
    }),
    Spoilt("id too short", |p| {
        p.subject_alt_names[0] = id_name(&"a".repeat(39))
    }),
    Spoilt("id too long", |p| {
        p.subject_alt_names[0] = id_name(&"a".repeat(41))
    }),
    Spoilt("id zero", |p| {
        p.subject_alt_names[0] = id_name(&"0".repeat(40))
    }),
    Spoilt("other cluster", |p| {
        p.subject_alt_names = node_params("other.example").subject_alt_names
    }),
];

fn name(text: &str) -> SanType {
    dns(&[text]).remove(0)
}

fn id_name(id: &str) -> SanType {
    name(&format!("{id}.node.{CLUSTER}"))
}

/// Everything that must be refused on the node port, in either direction.
fn bad_certificates(world: &mut World) -> Vec<(&'static str, Pair)> {
    let issuer = world.issuer();
    let mut all: Vec<(&str, Pair)> = SPOILT
        .into_iter()
        .map(|Spoilt(what, spoil)| {
            let mut params = node_params(CLUSTER);
            spoil(&mut params);
            (what, sign(&params, &issuer))
        })
        .collect();

    all.push(("a client's", Pair::of(&world.issue("app", Kind::Client))));
    all.push((
        "an administrator's",
        Pair::of(&world.issue("root", Kind::Admin)),
    ));
    all.push(("self-signed", self_signed(&node_params(CLUSTER))));

    let mut other = World::new();
    all.push((
        "another authority's, same cluster",
        Pair::of(&other.issue("n", Kind::Node)),
    ));
    let forged = KeyPair::generate().unwrap();
    let forged = Issuer::new(authority_params(CLUSTER, world.ca.name()), forged);
    all.push((
        "an authority's of the same name",
        sign(&node_params(CLUSTER), &forged),
    ));

    let key = std::fs::read_to_string(world.dir.path().join("ca.key")).unwrap();
    all.push((
        "the authority's own",
        Pair {
            leaf: world.ca.certificate().clone(),
            key: key_of(&key),
        },
    ));
    let leaf = world.issue("n", Kind::Node).certificate().clone();
    let stranger = KeyPair::generate().unwrap().into();
    all.push((
        "without its key",
        Pair {
            leaf,
            key: stranger,
        },
    ));

    let mut damaged = Pair::of(&world.issue("d", Kind::Node));
    let mut der = damaged.leaf.to_vec();
    *der.last_mut().unwrap() ^= 1;
    damaged.leaf = CertificateDer::from(der);
    all.push(("with a damaged signature", damaged));
    let garbage = Pair {
        leaf: CertificateDer::from(vec![1; 64]),
        key: KeyPair::generate().unwrap().into(),
    };
    all.push(("no certificate at all", garbage));

    let revoked = world.issue("bad", Kind::Node);
    world
        .ca
        .revoke_serial(&revoked.certified.serial, identity::now())
        .unwrap();
    all.push(("revoked", Pair::of(&revoked)));
    all
}

#[test]
fn every_bad_certificate_is_refused_when_it_dials_and_when_it_answers() {
    let mut world = World::new();
    let bad = bad_certificates(&mut world);
    // After the revocation, so that the good node knows of it.
    let good = world.identity("good", Kind::Node);
    let (good_server, good_client) = (
        Arc::new(good.node_server_tls()),
        Arc::new(good.node_client_tls()),
    );
    assert!(bad.len() >= 30);

    for (what, pair) in &bad {
        let dialled = shake(
            careless_dialler(Some(pair), ALPN).into(),
            good_server.clone(),
        );
        assert!(dialled.answerer.is_some(), "{what} was let in: {dialled:?}");
        assert_eq!(dialled.to_answerer, 0, "{what} got bytes in: {dialled:?}");
        assert_eq!(dialled.to_dialler, 0, "{what} got bytes out: {dialled:?}");

        let answered = shake(good_client.clone(), careless_answerer(pair, ALPN).into());
        assert!(
            answered.dialler.is_some(),
            "{what} was believed: {answered:?}"
        );
        assert_eq!(
            answered.to_answerer, 0,
            "{what} was sent bytes: {answered:?}"
        );
        assert_eq!(answered.to_dialler, 0, "{what} was heard: {answered:?}");
    }
}

#[test]
fn each_spoilt_field_alone_makes_the_difference() {
    // The control to the table above: unspoilt, the same parameters are accepted.
    let mut world = World::new();
    let pair = sign(&node_params(CLUSTER), &world.issuer());
    let good = world.identity("good", Kind::Node);
    let dialled = shake(
        careless_dialler(Some(&pair), ALPN).into(),
        good.node_server_tls().into(),
    );
    assert_whole(&dialled);
    let answered = shake(
        good.node_client_tls().into(),
        careless_answerer(&pair, ALPN).into(),
    );
    assert_whole(&answered);
}

fn assert_whole(outcome: &Outcome) {
    assert!(outcome.accepted(), "{outcome:?}");
    assert!(
        outcome.to_answerer > 0 && outcome.to_dialler > 0,
        "{outcome:?}"
    );
}

#[test]
fn two_nodes_of_a_cluster_learn_each_others_ids() {
    let mut world = World::new();
    let (a, b) = (
        world.identity("a", Kind::Node),
        world.identity("b", Kind::Node),
    );
    let outcome = shake(a.node_client_tls().into(), b.node_server_tls().into());
    assert_whole(&outcome);
    assert_eq!(
        peer_identity(&outcome.seen_by_answerer).unwrap(),
        a.certified()
    );
    assert_eq!(
        peer_identity(&outcome.seen_by_dialler).unwrap(),
        b.certified()
    );
    assert_ne!(a.node_id().unwrap(), b.node_id().unwrap());
    assert_eq!(
        outcome.seen_by_answerer.len(),
        1,
        "the leaf and nothing else travels"
    );
    assert_eq!(outcome.sni, None, "no name in clear");
}

#[test]
fn who_shows_no_certificate_is_refused_on_the_node_port() {
    let mut world = World::new();
    let good = world.identity("good", Kind::Node);
    let outcome = shake(
        careless_dialler(None, ALPN).into(),
        good.node_server_tls().into(),
    );
    assert!(outcome.answerer.is_some(), "{outcome:?}");
    assert_eq!((outcome.to_answerer, outcome.to_dialler), (0, 0));
}

#[test]
fn another_protocol_is_refused() {
    let mut world = World::new();
    let good = world.identity("good", Kind::Node);
    let pair = Pair::of(&world.issue("n", Kind::Node));
    let outcome = shake(
        careless_dialler(Some(&pair), b"h2").into(),
        good.node_server_tls().into(),
    );
    assert_eq!(outcome.answerer, Some(rustls::Error::NoApplicationProtocol));
    assert_eq!((outcome.to_answerer, outcome.to_dialler), (0, 0));
}

#[test]
fn a_refusal_says_why() {
    let mut world = World::new();
    let good = world.identity("good", Kind::Node);
    let refusal = |pair: &Pair| {
        let outcome = shake(
            careless_dialler(Some(pair), ALPN).into(),
            good.node_server_tls().into(),
        );
        outcome.answerer.unwrap().to_string()
    };
    let client = refusal(&Pair::of(&world.issue("app", Kind::Client)));
    assert!(
        client.contains("certificate for a client, but only a node"),
        "{client}"
    );
    let mut params = node_params(CLUSTER);
    params.subject_alt_names.truncate(1);
    let shape = refusal(&sign(&params, &world.issuer()));
    assert!(shape.contains("not exactly two DNS names"), "{shape}");
    let foreign = refusal(&Pair::of(&World::new().issue("n", Kind::Node)));
    assert!(foreign.contains("UnknownIssuer"), "{foreign}");
}

#[test]
fn nothing_is_resumed_and_no_ticket_is_given() {
    let mut world = World::new();
    let (a, b) = (
        world.identity("a", Kind::Node),
        world.identity("b", Kind::Node),
    );
    let (dialler, answerer) = (Arc::new(a.node_client_tls()), Arc::new(b.node_server_tls()));
    assert_eq!(answerer.max_early_data_size, 0);
    assert_eq!(answerer.send_tls13_tickets, 0);
    assert!(!answerer.ticketer.enabled());
    assert!(!answerer.session_storage.can_cache());
    assert!(!dialler.enable_early_data && !dialler.enable_sni);
    for _ in 0..3 {
        let outcome = shake(dialler.clone(), answerer.clone());
        assert_whole(&outcome);
        assert_eq!(outcome.handshake, Some(rustls::HandshakeKind::Full));
    }
    // An end that would resume gets nothing to do so with.
    let pair = Pair::of(&world.issue("n", Kind::Node));
    let keen_dialler = Arc::new(careless_dialler(Some(&pair), ALPN));
    let keen_answerer = Arc::new(careless_answerer(&pair, ALPN));
    for (dialler, answerer) in [
        (&keen_dialler, &answerer),
        (&keen_dialler, &answerer),
        (&dialler, &keen_answerer),
        (&dialler, &keen_answerer),
    ] {
        let outcome = shake(dialler.clone(), answerer.clone());
        assert_whole(&outcome);
        assert_eq!(
            outcome.handshake,
            Some(rustls::HandshakeKind::Full),
            "{outcome:?}"
        );
    }
    // The control: between two keen ends the second time is a resumption.
    shake(keen_dialler.clone(), keen_answerer.clone());
    let outcome = shake(keen_dialler, keen_answerer);
    assert_eq!(
        outcome.handshake,
        Some(rustls::HandshakeKind::Resumed),
        "{outcome:?}"
    );
}

#[test]
fn the_client_port_takes_clients_admins_and_the_unknown_but_no_nodes() {
    let mut world = World::new();
    let node = world.identity("node", Kind::Node);
    let port = Arc::new(node.client_port_tls(&[b"http/1.1"]));

    for kind in [Kind::Client, Kind::Admin] {
        let client = world.identity("app", kind);
        let outcome = shake(client.client_tls(&[b"http/1.1"]).into(), port.clone());
        assert_whole(&outcome);
        let role = peer_identity(&outcome.seen_by_answerer).unwrap().role;
        assert_eq!(role.kind(), kind);
    }

    let anonymous = node.trust().client_tls(&[b"http/1.1"]);
    let outcome = shake(anonymous.into(), port.clone());
    assert_whole(&outcome);
    assert!(outcome.seen_by_answerer.is_empty());

    let other_node = world.identity("other", Kind::Node);
    let outcome = shake(other_node.client_tls(&[b"http/1.1"]).into(), port.clone());
    assert!(outcome.answerer.is_some(), "{outcome:?}");
    assert_eq!((outcome.to_answerer, outcome.to_dialler), (0, 0));
}

#[test]
fn the_client_port_refuses_bad_certificates_of_clients() {
    let mut world = World::new();
    let stranger = Pair::of(&World::new().issue("app", Kind::Client));
    let revoked = world.issue("gone", Kind::Client);
    world
        .ca
        .revoke_serial(&revoked.certified.serial, identity::now())
        .unwrap();
    let stolen = Pair {
        leaf: world.issue("victim", Kind::Admin).certificate().clone(),
        key: KeyPair::generate().unwrap().into(),
    };
    let mut wildcard = node_params(CLUSTER);
    wildcard.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    wildcard.subject_alt_names = dns(&[&format!("*.admin.{CLUSTER}"), &format!("admin.{CLUSTER}")]);
    let wildcard = sign(&wildcard, &world.issuer());

    let port = Arc::new(world.identity("node", Kind::Node).client_port_tls(&[b"h2"]));
    for (what, pair) in [
        ("stranger", &stranger),
        ("revoked", &Pair::of(&revoked)),
        ("stolen", &stolen),
        ("wildcard", &wildcard),
    ] {
        let outcome = shake(careless_dialler(Some(pair), b"h2").into(), port.clone());
        assert!(outcome.answerer.is_some(), "{what}: {outcome:?}");
        assert_eq!((outcome.to_answerer, outcome.to_dialler), (0, 0), "{what}");
    }
}

#[test]
fn a_client_believes_no_bad_certificate_either() {
    let mut world = World::new();
    let bad = bad_certificates(&mut world);
    let trust = Arc::new(
        Trust::new(
            &[world.ca.certificate().clone()],
            &[world.ca.crl().clone()],
            false,
        )
        .unwrap(),
    );
    for (what, pair) in &bad {
        let server = Arc::new(careless_answerer(pair, b"http/1.1"));
        let outcome = shake(trust.client_tls(&[b"http/1.1"]).into(), server);
        assert!(outcome.dialler.is_some(), "{what}: {outcome:?}");
        assert_eq!((outcome.to_answerer, outcome.to_dialler), (0, 0), "{what}");
    }
}

#[test]
fn two_authorities_of_one_cluster_can_be_trusted_at_once() {
    let (mut old, mut new) = (World::new(), World::new());
    assert_ne!(old.ca.name(), new.ca.name(), "their names tell them apart");
    let (a, b) = (trusting_both(&mut old, &new), trusting_both(&mut new, &old));
    for (dialler, answerer) in [(&a, &b), (&b, &a)] {
        let outcome = shake(
            dialler.node_client_tls().into(),
            answerer.node_server_tls().into(),
        );
        assert_whole(&outcome);
    }
}

/// A node of `own` that trusts the authority of `other` too.
fn trusting_both(own: &mut World, other: &World) -> Identity {
    let mut files = own.files("n", Kind::Node);
    files.ca = own.dir.path().join("both.pem");
    files.crl = own.dir.path().join("both.crl");
    let bundle = [other.ca.certificate_pem(), own.ca.certificate_pem()].concat();
    std::fs::write(&files.ca, bundle).unwrap();
    std::fs::write(&files.crl, [own.ca.crl_pem(), other.ca.crl_pem()].concat()).unwrap();
    Identity::load(&files, identity::now()).unwrap()
}

#[test]
fn quic_configurations_are_made_from_the_same_parts() {
    let mut world = World::new();
    let node = world.identity("n", Kind::Node);
    // They panic if the provider lacked what QUIC begins with.
    let _ = (node.quic_server(), node.quic_client());
    assert_eq!(node.node_server_tls().alpn_protocols, vec![ALPN.to_vec()]);
    assert_eq!(node.server_name(), format!("node.{CLUSTER}"));
    let Role::Node { id } = node.certified().role else {
        panic!("a node")
    };
    assert_eq!(node.node_id().unwrap(), id);
    let issued = world
        .ca
        .issue(&order("c", Kind::Client), identity::now())
        .unwrap();
    let client = Identity::in_memory(&world.ca, &issued, identity::now()).unwrap();
    assert!(client.node_id().is_err());
}
