//! Changing certificates and lists while handles, configurations and connections live.

use std::sync::Arc;

use chord_net_quic::identity::{self, ALPN, Identity, IdentityError, Kind, LEAF_VALID};

use crate::support::{Pair, World, careless_dialler, in_seconds, order, shake, write};

#[test]
fn a_list_put_in_force_closes_the_door_that_a_configuration_made_before_held_open() {
    let mut world = World::new();
    let own = world.issue("own", Kind::Node);
    let identity = Identity::in_memory(&world.ca, &own, identity::now()).unwrap();
    let server = Arc::new(identity.node_server_tls());
    let bad = world.issue("bad", Kind::Node);
    let dialler = Arc::new(careless_dialler(Some(&Pair::of(&bad)), ALPN));

    let before = shake(dialler.clone(), server.clone());
    assert!(before.accepted(), "{before:?}");
    let live = before.seen_by_answerer;
    assert!(identity.is_still_valid(&live, identity::now()).is_ok());

    world
        .ca
        .revoke_serial(&bad.certified.serial, identity::now())
        .unwrap();
    identity
        .reload_in_memory(&world.ca, &own, identity::now())
        .unwrap();

    let after = shake(dialler, server);
    assert!(after.answerer.is_some(), "{after:?}");
    assert_eq!(after.to_answerer, 0);
    let error = identity.is_still_valid(&live, identity::now()).unwrap_err();
    assert!(matches!(error, IdentityError::Revoked), "{error}");
}

#[test]
fn a_live_connection_ends_with_its_certificate() {
    let mut world = World::new();
    let identity = world.identity("own", Kind::Node);
    let chain = [world.issue("peer", Kind::Node).certificate().clone()];
    let end = 90 * 86_400;
    assert!(
        identity
            .is_still_valid(&chain, in_seconds(end - 60))
            .is_ok()
    );
    let error = identity
        .is_still_valid(&chain, in_seconds(end + 60))
        .unwrap_err();
    assert!(matches!(error, IdentityError::Expired { .. }), "{error}");
    assert!(identity.is_still_valid(&[], identity::now()).is_err());
}

#[test]
fn a_renewed_certificate_is_presented_without_a_restart() {
    let mut world = World::new();
    let files = world.files("own", Kind::Node);
    let identity = Identity::load(&files, identity::now()).unwrap();
    let (server, clone) = (Arc::new(identity.node_server_tls()), identity.clone());
    let peer = world.identity("peer", Kind::Node);

    let old = std::fs::read_to_string(&files.cert).unwrap();
    let new = world
        .ca
        .renew(&old, LEAF_VALID, None, identity::now())
        .unwrap();
    write(&files.cert, new.certificate_pem());
    write(&files.key, new.key_pem().unwrap());
    identity.reload(&files, identity::now()).unwrap();

    assert_eq!(
        clone.certified(),
        new.certified,
        "clones share what is in force"
    );
    let outcome = shake(peer.node_client_tls().into(), server);
    assert!(outcome.accepted(), "{outcome:?}");
    assert_eq!(outcome.seen_by_dialler, [new.certificate().clone()]);
}

#[test]
fn a_bad_new_file_keeps_the_old_one_and_says_so() {
    let mut world = World::new();
    let files = world.files("own", Kind::Node);
    let identity = Identity::load(&files, identity::now()).unwrap();
    let peer = world.identity("peer", Kind::Node);
    let before = identity.certified();
    let read = |path| std::fs::read_to_string(path).unwrap();
    let (cert, crl) = (read(&files.cert), read(&files.crl));

    let other = world.issue("other", Kind::Node);
    let stranger = World::new();
    for (what, path, text) in [
        ("half a copy", &files.cert, &cert[..cert.len() / 2]),
        (
            "another's certificate",
            &files.cert,
            other.certificate_pem(),
        ),
        ("another authority's list", &files.crl, ""),
        (
            "another authority",
            &files.ca,
            stranger.ca.certificate_pem(),
        ),
    ] {
        let good = read(path);
        write(path, text);
        let error = identity.reload(&files, identity::now()).unwrap_err();
        assert!(error.to_string().contains("; "), "{what}: {error}");
        assert_eq!(identity.certified(), before, "{what}");
        let outcome = shake(
            peer.node_client_tls().into(),
            identity.node_server_tls().into(),
        );
        assert!(outcome.accepted(), "{what}: {outcome:?}");
        write(path, &good);
    }
    assert_eq!(read(&files.crl), crl);
    identity.reload(&files, identity::now()).unwrap();
}

#[test]
fn nobody_becomes_somebody_else_by_a_reload() {
    let mut world = World::new();
    let own = world.issue("own", Kind::Node);
    let identity = Identity::in_memory(&world.ca, &own, identity::now()).unwrap();
    for (name, kind) in [("other", Kind::Node), ("own", Kind::Client)] {
        let other = world.ca.issue(&order(name, kind), identity::now()).unwrap();
        let error = identity
            .reload_in_memory(&world.ca, &other, identity::now())
            .unwrap_err();
        assert!(matches!(error, IdentityError::Changed { .. }), "{error}");
        assert_eq!(identity.certified(), own.certified);
    }
}

#[test]
fn an_older_list_does_not_take_the_place_of_a_newer_one() {
    let mut world = World::new();
    let files = world.files("own", Kind::Node);
    let old = std::fs::read_to_string(&files.crl).unwrap();
    let bad = world.issue("bad", Kind::Node);
    world
        .ca
        .revoke_serial(&bad.certified.serial, identity::now())
        .unwrap();
    let identity = Identity::load(&files, identity::now()).unwrap();
    let number = identity.trust().authorities()[0].crl_number;

    write(&files.crl, &old);
    identity.reload(&files, identity::now()).unwrap();
    assert_eq!(identity.trust().authorities()[0].crl_number, number);
    let chain = [bad.certificate().clone()];
    assert!(identity.is_still_valid(&chain, identity::now()).is_err());
}

#[test]
fn an_authority_that_is_dropped_takes_its_peers_along() {
    let (mut old, mut new) = (World::new(), World::new());
    let mut files = old.files("own", Kind::Node);
    let chain = [old.issue("peer", Kind::Node).certificate().clone()];
    let identity = Identity::load(&files, identity::now()).unwrap();
    assert!(identity.is_still_valid(&chain, identity::now()).is_ok());

    // The second phase of a rotation trusts both; own certificate still the old one.
    let ca = [old.ca.certificate_pem(), new.ca.certificate_pem()].concat();
    write(&files.ca, &ca);
    write(&files.crl, &[old.ca.crl_pem(), new.ca.crl_pem()].concat());
    identity.reload(&files, identity::now()).unwrap();
    assert!(identity.is_still_valid(&chain, identity::now()).is_ok());
    let theirs = [new.issue("peer", Kind::Node).certificate().clone()];
    assert!(identity.is_still_valid(&theirs, identity::now()).is_ok());

    // Dropping the authority of the own certificate is refused: no peer would talk to us.
    files.ca = new.dir.path().join("ca.pem");
    let error = identity.reload(&files, identity::now()).unwrap_err();
    assert!(matches!(error, IdentityError::UnknownIssuer), "{error}");
    assert!(identity.is_still_valid(&chain, identity::now()).is_ok());
}
