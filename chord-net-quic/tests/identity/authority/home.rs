//! The directory of an authority: its files, its ledger, its secrets.

use super::*;

#[test]
fn an_authority_in_a_directory_is_opened_again_with_all_it_knew() {
    let now = identity::now();
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path().join("new").join("ca");
    let mut ca = CertificateAuthority::init(&home, CLUSTER, now).unwrap();
    let issued = ca.issue(&order("n", Kind::Node), now).unwrap();
    ca.revoke_serial(&issued.certified.serial, now).unwrap();
    let (entries, number) = (ca.entries().to_vec(), ca.crl_number());
    let (pem, crl) = (ca.certificate_pem().to_owned(), ca.crl_pem().to_owned());
    drop(ca);

    let mut ca = CertificateAuthority::open(&home, now).unwrap();
    assert_eq!(ca.entries(), entries);
    assert_eq!(ca.crl_number(), number);
    assert_eq!(
        (ca.certificate_pem(), ca.crl_pem()),
        (pem.as_str(), crl.as_str())
    );
    assert_eq!(ca.cluster().as_str(), CLUSTER);
    let second = ca.issue(&order("m", Kind::Node), now).unwrap();
    let trust = Trust::load(&home.join("ca.pem"), &home.join("ca.crl"), true).unwrap();
    assert!(trust.verify(second.certificate(), now).is_ok());
    let error = trust.verify(issued.certificate(), now).unwrap_err();
    assert!(matches!(error, IdentityError::Revoked), "{error}");
    let lines = std::fs::read_to_string(home.join("ca.ledger")).unwrap();
    assert_eq!(lines.lines().count(), 2);
    assert!(lines.contains(&issued.certified.id().unwrap().to_string()));
}

#[cfg(unix)]
#[test]
fn the_authoritys_key_is_for_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let world = World::new();
    let dir = world.dir.path();
    let mode = |file: &str| dir.join(file).metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode("ca.key"), 0o600);
    drop(world.ca);
    for loose in [0o640, 0o604, 0o660, 0o622, 0o601] {
        let permissions = std::fs::Permissions::from_mode(loose);
        std::fs::set_permissions(dir.join("ca.key"), permissions).unwrap();
        let error = CertificateAuthority::open(dir, identity::now()).unwrap_err();
        let IdentityError::LoosePermissions { mode, .. } = error else {
            panic!("{error}")
        };
        assert_eq!(mode, loose);
    }
}

#[test]
fn an_open_authority_keeps_other_processes_out() {
    let world = World::new();
    let key = std::fs::File::open(world.dir.path().join("ca.key")).unwrap();
    assert!(matches!(
        key.try_lock(),
        Err(std::fs::TryLockError::WouldBlock)
    ));
    drop(world.ca);
    assert!(key.try_lock().is_ok());
    key.unlock().unwrap();
    let opened = CertificateAuthority::open(world.dir.path(), identity::now()).unwrap();
    assert!(matches!(
        key.try_lock(),
        Err(std::fs::TryLockError::WouldBlock)
    ));
    drop(opened);
    assert!(key.try_lock().is_ok());
}

#[test]
fn an_authority_is_never_overwritten() {
    let world = World::new();
    let before = std::fs::read(world.dir.path().join("ca.key")).unwrap();
    drop(world.ca);
    for file in ["ca.pem", "ca.key", "ca.crl", "ca.ledger"] {
        let dir = tempfile::tempdir().unwrap();
        std::fs::copy(world.dir.path().join(file), dir.path().join(file)).unwrap();
        let error = CertificateAuthority::init(dir.path(), CLUSTER, identity::now()).unwrap_err();
        assert!(
            matches!(error, IdentityError::Exists { .. }),
            "{file}: {error}"
        );
        assert_eq!(
            dir.path().read_dir().unwrap().count(),
            1,
            "{file}: nothing was added"
        );
    }
    let error = CertificateAuthority::init(world.dir.path(), CLUSTER, identity::now()).unwrap_err();
    assert!(matches!(error, IdentityError::Exists { .. }), "{error}");
    assert_eq!(
        std::fs::read(world.dir.path().join("ca.key")).unwrap(),
        before
    );
}

#[test]
fn an_authority_with_the_key_of_another_is_not_opened() {
    let (one, other) = (World::new(), World::new());
    drop(one.ca);
    std::fs::copy(
        other.dir.path().join("ca.key"),
        one.dir.path().join("ca.key"),
    )
    .unwrap();
    let error = CertificateAuthority::open(one.dir.path(), identity::now()).unwrap_err();
    assert!(
        matches!(error, IdentityError::KeyMismatch { .. }),
        "{error}"
    );
}

#[test]
fn a_lost_list_is_issued_again_from_the_ledger() {
    let mut world = World::new();
    let bad = world.issue("bad", Kind::Node).certified;
    world
        .ca
        .revoke_serial(&bad.serial, identity::now())
        .unwrap();
    drop(world.ca);
    std::fs::remove_file(world.dir.path().join("ca.crl")).unwrap();
    let ca = CertificateAuthority::open(world.dir.path(), identity::now()).unwrap();
    assert_eq!(list(ca.crl()).iter_revoked_certificates().count(), 1);
    assert_eq!(
        std::fs::read_to_string(world.dir.path().join("ca.crl")).unwrap(),
        ca.crl_pem()
    );
}

#[test]
fn a_damaged_or_foreign_list_is_not_built_upon() {
    let other = World::new();
    let world = World::new();
    drop(world.ca);
    let path = world.dir.path().join("ca.crl");
    std::fs::write(&path, other.ca.crl_pem()).unwrap();
    let error = CertificateAuthority::open(world.dir.path(), identity::now()).unwrap_err();
    assert!(matches!(error, IdentityError::NoCrl(_)), "{error}");
    std::fs::write(&path, "nonsense").unwrap();
    let error = CertificateAuthority::open(world.dir.path(), identity::now()).unwrap_err();
    assert!(matches!(error, IdentityError::NotPem { .. }), "{error}");
}

#[test]
fn a_damaged_or_lost_ledger_stops_everything() {
    let mut world = World::new();
    world.issue("n", Kind::Node);
    drop(world.ca);
    let path = world.dir.path().join("ca.ledger");
    let good = std::fs::read_to_string(&path).unwrap();
    for bad in ["{", "{}", "null", &good.replace("\"node\"", "\"king\"")] {
        std::fs::write(&path, format!("{good}{bad}\n")).unwrap();
        let error = CertificateAuthority::open(world.dir.path(), identity::now()).unwrap_err();
        assert!(
            matches!(error, IdentityError::Ledger { line: 2, .. }),
            "{bad}: {error}"
        );
    }
    std::fs::remove_file(&path).unwrap();
    let error = CertificateAuthority::open(world.dir.path(), identity::now()).unwrap_err();
    assert!(matches!(error, IdentityError::Read { .. }), "{error}");
}

#[test]
fn a_certificate_that_the_ledger_lost_can_still_be_revoked_by_its_file() {
    let mut world = World::new();
    let lost = world.issue("lost", Kind::Node);
    drop(world.ca);
    std::fs::write(world.dir.path().join("ca.ledger"), "").unwrap();
    let mut ca = CertificateAuthority::open(world.dir.path(), identity::now()).unwrap();
    let error = ca
        .revoke_serial(&lost.certified.serial, identity::now())
        .unwrap_err();
    assert!(matches!(error, IdentityError::UnknownSerial(_)), "{error}");
    ca.revoke_certificate(lost.certificate_pem(), identity::now())
        .unwrap();
    assert_eq!(list(ca.crl()).iter_revoked_certificates().count(), 1);
}

#[test]
fn what_cannot_be_recorded_is_not_issued() {
    let mut world = World::new();
    let kept = world.issue("kept", Kind::Node).certified;
    // A directory in its place cannot be replaced by a file.
    let path = world.dir.path().join("ca.ledger");
    std::fs::remove_file(&path).unwrap();
    std::fs::create_dir(&path).unwrap();
    std::fs::write(path.join("in the way"), "").unwrap();
    let error = world
        .ca
        .issue(&order("n", Kind::Node), identity::now())
        .unwrap_err();
    assert!(matches!(error, IdentityError::Write { .. }), "{error}");
    let error = world
        .ca
        .revoke_serial(&kept.serial, identity::now())
        .unwrap_err();
    assert!(matches!(error, IdentityError::Write { .. }), "{error}");
    assert_eq!(world.ca.entries().len(), 1);
    assert_eq!(world.ca.entries()[0].revoked, None);
    assert_eq!(list(world.ca.crl()).iter_revoked_certificates().count(), 0);
}

#[test]
fn saving_never_overwrites_and_hides_the_key() {
    let mut world = World::new();
    let issued = world.issue("n", Kind::Node);
    let out = world.dir.path().join("out");
    let written = issued.save(&out, "n").unwrap();
    assert_eq!(written, [out.join("n.pem"), out.join("n.key")]);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(
            out.join("n.key").metadata().unwrap().permissions().mode() & 0o777,
            0o600
        );
    }
    std::fs::remove_file(out.join("n.pem")).unwrap();
    let error = issued.save(&out, "n").unwrap_err();
    assert!(
        matches!(&error, IdentityError::Exists { path } if path.ends_with("n.key")),
        "{error}"
    );
    assert!(
        !out.join("n.pem").exists(),
        "nothing was written beside the old key"
    );
    assert!(identity::refuse_existing(&out, "n").is_err());
    assert!(identity::refuse_existing(&out, "m").is_ok());
    let error = issued.save(&out, "../n").unwrap_err();
    assert!(matches!(error, IdentityError::Name { .. }), "{error}");
}

#[test]
fn names_that_are_none_are_refused_before_anything_is_made() {
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path().join("ca");
    let error = CertificateAuthority::init(&home, "Not A Name", identity::now()).unwrap_err();
    assert!(
        matches!(error, IdentityError::ClusterName { .. }),
        "{error}"
    );
    assert!(!home.exists());
    let mut ca = authority();
    let error = ca.issue(&order("../x", Kind::Client), at(NOW)).unwrap_err();
    assert!(matches!(error, IdentityError::Name { .. }), "{error}");
}

#[test]
fn no_secret_is_ever_shown() {
    let mut world = World::new();
    let issued = world.issue("n", Kind::Node);
    let identity = Identity::in_memory(&world.ca, &issued, in_seconds(0)).unwrap();
    let secret = issued.key_pem().unwrap().lines().nth(1).unwrap().to_owned();
    let own = std::fs::read_to_string(world.dir.path().join("ca.key")).unwrap();
    let own = own.lines().nth(1).unwrap().to_owned();
    let shown = format!(
        "{issued:?} {issued:#?} {identity:?} {:?} {:?} {:?} {:?}",
        world.ca,
        identity.node_server_tls(),
        identity.node_client_tls(),
        identity.trust()
    );
    assert!(!shown.contains(&secret) && !shown.contains(&own));
    assert!(!shown.contains("PRIVATE"));
    // Nor as a list of numbers, the way bytes print themselves.
    let bytes = KeyPair::from_pem(issued.key_pem().unwrap())
        .unwrap()
        .serialize_der();
    let numbers: Vec<String> = bytes[36..44].iter().map(u8::to_string).collect();
    assert!(!shown.contains(&numbers.join(", ")));
}
