//! Certificates and lists near their end and beyond it: who is warned, who is refused.

use std::sync::Arc;

use chord_net_quic::identity::{self, ALPN, Identity, IdentityError, Kind, Trust, Warning};
use rustls::pki_types::CertificateRevocationListDer;
use rustls::pki_types::pem::PemObject;

use crate::support::{
    Pair, World, careless_answerer, careless_dialler, in_seconds, list_by, own_key, shake, write,
};

#[test]
fn an_overdue_list_alarms_and_in_strict_mode_refuses() {
    let mut world = World::new();
    let mut files = world.files("n", Kind::Node);
    write(&files.crl, &list_by(&world, own_key(&world), 1, -60));
    let identity = Identity::load(&files, identity::now()).unwrap();
    let warnings = identity.warnings(identity::now());
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    files.crl_strict = true;
    assert!(matches!(
        Identity::load(&files, identity::now()).unwrap_err(),
        IdentityError::CrlExpired { .. }
    ));
    // A fresh one is fine in strict mode, and raises no alarm.
    write(&files.crl, world.ca.crl_pem());
    assert!(
        Identity::load(&files, identity::now())
            .unwrap()
            .warnings(identity::now())
            .is_empty()
    );
}

#[test]
fn in_strict_mode_a_dialler_refuses_everybody_once_its_list_is_overdue() {
    let mut world = World::new();
    let node = world.identity("n", Kind::Node);
    let server = Arc::new(node.client_port_tls(&[b"http/1.1"]));
    let authorities = [world.ca.certificate().clone()];
    let pem = list_by(&world, own_key(&world), 1, -60);
    let overdue = [CertificateRevocationListDer::from_pem_slice(pem.as_bytes()).unwrap()];
    for strict in [false, true] {
        let trust = Arc::new(Trust::new(&authorities, &overdue, strict).unwrap());
        let outcome = shake(trust.client_tls(&[b"http/1.1"]).into(), server.clone());
        assert_eq!(outcome.accepted(), !strict, "{outcome:?}");
    }
}

#[test]
fn the_end_of_a_certificate_is_announced_at_thirty_and_ten_percent() {
    let mut world = World::new();
    let identity = world.identity("n", Kind::Node);
    let percent = |days: i64| -> Option<u8> {
        let warnings = identity.warnings(in_seconds(days * 86_400));
        warnings.iter().find_map(|warning| match warning {
            Warning::CertificateExpires { percent_left, .. } => Some(*percent_left),
            Warning::CrlExpires { .. } => None,
        })
    };
    assert_eq!(percent(0), None);
    assert_eq!(percent(60), None);
    assert_eq!(percent(63), Some(29));
    assert_eq!(percent(82), Some(8));
    assert_eq!(percent(200), Some(0));
}

#[test]
fn the_end_of_a_list_is_announced_from_thirty_percent_on() {
    let mut world = World::new();
    let mut files = world.files("n", Kind::Node);
    for strict in [false, true] {
        files.crl_strict = strict;
        let identity = Identity::load(&files, identity::now()).unwrap();
        let left = |days: i64| -> Option<u8> {
            let warnings = identity.warnings(in_seconds(days * 86_400));
            warnings.iter().find_map(|warning| match warning {
                Warning::CrlExpires { percent_left, .. } => {
                    let said = warning.to_string();
                    assert!(said.contains("ca crl"), "{said}");
                    assert_eq!(said.contains("every peer is refused"), strict, "{said}");
                    Some(*percent_left)
                }
                Warning::CertificateExpires { .. } => None,
            })
        };
        assert_eq!(left(0), None);
        assert_eq!(left(20), None);
        assert_eq!(left(22), Some(26));
        assert_eq!(left(30), Some(0));
        assert_eq!(left(80), Some(0));
    }
}

#[test]
fn a_list_that_becomes_overdue_shuts_the_node_port_in_strict_mode_only() {
    let mut world = World::new();
    let mut files = world.files("n", Kind::Node);
    let peer = Pair::of(&world.issue("peer", Kind::Node));
    write(&files.crl, &list_by(&world, own_key(&world), 1, -1));
    for strict in [false, true] {
        files.crl_strict = strict;
        // As of a minute ago it is in time; handshakes look at the clock of now.
        let node = Identity::load(&files, in_seconds(-60)).unwrap();
        let dialler = careless_dialler(Some(&peer), ALPN);
        let dialled = shake(dialler.into(), node.node_server_tls().into());
        assert_eq!(dialled.accepted(), !strict, "{dialled:?}");
        let answerer = careless_answerer(&peer, ALPN);
        let answered = shake(node.node_client_tls().into(), answerer.into());
        assert_eq!(answered.accepted(), !strict, "{answered:?}");
    }
}

#[test]
fn failed_reloads_are_counted_and_the_next_update_is_that_of_the_list_in_force() {
    let mut world = World::new();
    let files = world.files("n", Kind::Node);
    let identity = Identity::load(&files, identity::now()).unwrap();
    let due = identity.trust().crl_next_update().as_secs();
    write(&files.crl, "no list");
    for failed in 1..=2 {
        assert!(identity.reload(&files, identity::now()).is_err());
        assert_eq!(identity.clone().reloads_failed(), failed);
    }
    assert_eq!(identity.trust().crl_next_update().as_secs(), due);

    write(
        &files.crl,
        &list_by(&world, own_key(&world), u64::MAX, 60 * 86_400),
    );
    identity.reload(&files, identity::now()).unwrap();
    assert_eq!(identity.reloads_failed(), 2);
    assert!(identity.trust().crl_next_update().as_secs() > due);
}
