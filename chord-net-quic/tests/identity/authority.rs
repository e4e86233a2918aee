//! What the authority issues, keeps and revokes.

use std::time::Duration;

use chord_core::id::Id;
use chord_net_quic::identity::{
    self, CertificateAuthority, Certified, IdChoice, Identity, IdentityError, KeyHash, Kind,
    LEAF_VALID, Order, Role, Serial, Trust,
};
use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PublicKeyData,
};
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, UnixTime};
use x509_parser::prelude::*;

use crate::support::{CLUSTER, World, authority_params, dns, in_seconds, node_params, order};

const DAY: u64 = 86_400;

fn at(seconds: u64) -> UnixTime {
    UnixTime::since_unix_epoch(Duration::from_secs(seconds))
}

/// A date far from today: nothing here may depend on the real clock.
const NOW: u64 = 2_000_000_000;

fn authority() -> CertificateAuthority {
    CertificateAuthority::in_memory(CLUSTER, at(NOW)).unwrap()
}

fn x509<'a>(der: &'a CertificateDer<'_>) -> X509Certificate<'a> {
    parse_x509_certificate(der).unwrap().1
}

fn list<'a>(der: &'a CertificateRevocationListDer<'_>) -> CertificateRevocationList<'a> {
    CertificateRevocationList::from_der(der).unwrap().1
}

#[test]
fn the_authority_is_bound_to_its_cluster_and_issues_leaves_only() {
    let ca = authority();
    let own = x509(ca.certificate());
    let hash = KeyHash::of(own.public_key().raw);
    assert_eq!(
        own.subject().to_string(),
        format!("CN={CLUSTER} CA {}", &hash.to_string()[..8])
    );
    assert_eq!(own.subject(), own.issuer());
    own.verify_signature(None).unwrap();

    let constraints = own.basic_constraints().unwrap().unwrap();
    assert!(constraints.critical && constraints.value.ca);
    assert_eq!(constraints.value.path_len_constraint, Some(0));
    let usage = own.key_usage().unwrap().unwrap();
    assert!(usage.critical && usage.value.key_cert_sign() && usage.value.crl_sign());
    assert!(!usage.value.digital_signature());

    let names = own.name_constraints().unwrap().unwrap();
    assert!(names.critical && names.value.excluded_subtrees.is_none());
    let permitted = names.value.permitted_subtrees.as_deref().unwrap();
    assert_eq!(permitted.len(), 1);
    assert_eq!(permitted[0].base, GeneralName::DNSName(CLUSTER));

    assert_eq!(own.validity().not_before.timestamp(), NOW as i64 - 300);
    assert_eq!(
        own.validity().not_after.timestamp(),
        (NOW + 5 * 365 * DAY) as i64
    );
    assert_eq!(ca.not_after(), at(NOW + 5 * 365 * DAY));
}

#[test]
fn a_node_certificate_has_exactly_its_fields() {
    let mut ca = authority();
    let issued = ca.issue(&order("node-1", Kind::Node), at(NOW)).unwrap();
    let id = issued.certified.id().unwrap();
    let leaf = x509(issued.certificate());

    let names = leaf.subject_alternative_name().unwrap().unwrap();
    let (own, general) = (format!("{id}.node.{CLUSTER}"), format!("node.{CLUSTER}"));
    assert_eq!(
        names.value.general_names,
        [GeneralName::DNSName(&own), GeneralName::DNSName(&general)]
    );
    let purposes = leaf.extended_key_usage().unwrap().unwrap().value;
    assert!(purposes.server_auth && purposes.client_auth && !purposes.any);
    let usage = leaf.key_usage().unwrap().unwrap().value;
    assert_eq!(usage.flags, 1, "for signatures and nothing else");
    assert!(!leaf.is_ca());
    assert_eq!(leaf.issuer(), x509(ca.certificate()).subject());
    leaf.verify_signature(Some(x509(ca.certificate()).public_key()))
        .unwrap();
    assert_eq!(
        leaf.public_key().algorithm.algorithm.to_id_string(),
        "1.2.840.10045.2.1"
    );
    assert_eq!(leaf.public_key().parsed().unwrap().key_size(), 256, "P-256");
    assert_eq!(leaf.validity().not_before.timestamp(), NOW as i64 - 300);
    assert_eq!(
        leaf.validity().not_after.timestamp(),
        (NOW + 90 * DAY) as i64
    );

    assert_eq!(issued.certified.name, "node-1");
    assert_eq!(issued.certified.issuer, ca.name());
    assert_eq!(issued.certified.days_left(at(NOW)), 90);
    assert_eq!(
        Certified::from_pem(issued.certificate_pem()).unwrap(),
        issued.certified
    );
}

#[test]
fn clients_and_admins_are_no_servers() {
    let mut ca = authority();
    for kind in [Kind::Client, Kind::Admin] {
        let issued = ca.issue(&order("ada", kind), at(NOW)).unwrap();
        let leaf = x509(issued.certificate());
        let purposes = leaf.extended_key_usage().unwrap().unwrap().value;
        assert!(purposes.client_auth && !purposes.server_auth);
        let names = leaf.subject_alternative_name().unwrap().unwrap();
        let (own, general) = (format!("ada.{kind}.{CLUSTER}"), format!("{kind}.{CLUSTER}"));
        assert_eq!(
            names.value.general_names,
            [GeneralName::DNSName(&own), GeneralName::DNSName(&general)]
        );
        assert_eq!(issued.certified.role.kind(), kind);
        assert_eq!(issued.certified.id(), None);
    }
}

#[test]
fn serials_and_ids_are_random_and_never_repeat() {
    let mut ca = authority();
    let mut serials = Vec::new();
    let mut ids = Vec::new();
    for _ in 0..50 {
        let issued = ca.issue(&order("n", Kind::Node), at(NOW)).unwrap();
        assert!(issued.certified.serial.as_bytes().len() <= 16);
        serials.push(issued.certified.serial.to_string());
        ids.push(issued.certified.id().unwrap());
    }
    // Fifty numbers of 128 bits: their longest must fill all 16 bytes.
    assert_eq!(serials.iter().map(String::len).max(), Some(32));
    serials.sort();
    serials.dedup();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!((serials.len(), ids.len()), (50, 50));
}

#[test]
fn spread_ids_halve_the_widest_gap() {
    let mut ca = authority();
    let mut ids: Vec<Id> = Vec::new();
    for _ in 0..4 {
        let spread = Order {
            id: IdChoice::Spread,
            ..order("n", Kind::Node)
        };
        ids.push(ca.issue(&spread, at(NOW)).unwrap().certified.id().unwrap());
    }
    assert_eq!(
        ids[0].distance(ids[1]),
        Id::ZERO.plus_power(159),
        "opposite the first"
    );
    ids.sort_unstable();
    for at in 0..4 {
        assert_eq!(
            ids[at].distance(ids[(at + 1) % 4]),
            Id::ZERO.plus_power(158)
        );
    }
}

#[test]
fn spread_gives_the_place_of_a_revoked_node_again() {
    let mut ca = authority();
    let spread = Order {
        id: IdChoice::Spread,
        ..order("n", Kind::Node)
    };
    let first = ca.issue(&spread, at(NOW)).unwrap().certified;
    let second = ca.issue(&spread, at(NOW)).unwrap().certified;
    ca.revoke_serial(&second.serial, at(NOW)).unwrap();
    let third = ca.issue(&spread, at(NOW)).unwrap().certified;
    assert_eq!(third.id(), second.id());
    assert_ne!(third.id(), first.id());
}

#[test]
fn renewing_keeps_role_name_and_id_and_changes_key_and_serial() {
    let mut ca = authority();
    for kind in [Kind::Node, Kind::Client, Kind::Admin] {
        let old = ca.issue(&order("n", kind), at(NOW)).unwrap();
        let later = at(NOW + 60 * DAY);
        let new = ca
            .renew(old.certificate_pem(), LEAF_VALID, None, later)
            .unwrap();
        assert_eq!(new.certified.role, old.certified.role);
        assert_eq!(new.certified.name, old.certified.name);
        assert_ne!(new.certified.serial, old.certified.serial);
        assert_ne!(new.certified.key_hash, old.certified.key_hash);
        assert_eq!(new.certified.not_after, at(NOW + 150 * DAY));
    }
    assert_eq!(ca.entries().len(), 6);
}

#[test]
fn neither_the_revoked_nor_strangers_are_renewed() {
    let mut ca = authority();
    let revoked = ca.issue(&order("n", Kind::Node), at(NOW)).unwrap();
    ca.revoke_serial(&revoked.certified.serial, at(NOW))
        .unwrap();
    let error = ca
        .renew(revoked.certificate_pem(), LEAF_VALID, None, at(NOW))
        .unwrap_err();
    assert!(matches!(error, IdentityError::RenewRevoked), "{error}");

    let mut other = authority();
    let stranger = other.issue(&order("n", Kind::Node), at(NOW)).unwrap();
    let error = ca
        .renew(stranger.certificate_pem(), LEAF_VALID, None, at(NOW))
        .unwrap_err();
    assert!(matches!(error, IdentityError::NotIssuedHere), "{error}");
    let error = ca
        .revoke_certificate(stranger.certificate_pem(), at(NOW))
        .unwrap_err();
    assert!(matches!(error, IdentityError::NotIssuedHere), "{error}");

    // Nor a certificate in this authority's name that its key did not sign.
    let key = KeyPair::generate().unwrap();
    let pretender = Issuer::new(authority_params(CLUSTER, ca.name()), key);
    let forged = node_params(CLUSTER).signed_by(&KeyPair::generate().unwrap(), &pretender);
    let forged = forged.unwrap().pem();
    let error = ca.renew(&forged, LEAF_VALID, None, at(NOW)).unwrap_err();
    assert!(matches!(error, IdentityError::NotIssuedHere), "{error}");
    let error = ca.revoke_certificate(&forged, at(NOW)).unwrap_err();
    assert!(matches!(error, IdentityError::NotIssuedHere), "{error}");
}

#[test]
fn from_a_signing_request_only_the_public_key_is_taken() {
    let mut ca = authority();
    let key = KeyPair::generate().unwrap();
    let mut greedy = CertificateParams::default();
    greedy.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    greedy.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    greedy.extended_key_usages = vec![ExtendedKeyUsagePurpose::Any];
    greedy.subject_alt_names = dns(&["root.admin.demo.example", "evil.example"]);
    let csr = greedy.serialize_request(&key).unwrap().pem().unwrap();

    let with_csr = Order {
        csr: Some(&csr),
        ..order("app", Kind::Client)
    };
    let issued = ca.issue(&with_csr, at(NOW)).unwrap();
    let leaf = x509(issued.certificate());
    assert!(!leaf.is_ca());
    assert!(!leaf.key_usage().unwrap().unwrap().value.key_cert_sign());
    assert_eq!(leaf.subject().to_string(), "CN=app");
    let Role::Client { name } = &issued.certified.role else {
        panic!("{issued:?}")
    };
    assert_eq!(name.as_str(), "app");
    assert_eq!(
        issued.certified.key_hash,
        KeyHash::of(&key.subject_public_key_info())
    );
    assert!(issued.key_pem().is_none());
    let error = Identity::in_memory(&ca, &issued, at(NOW)).unwrap_err();
    assert!(matches!(error, IdentityError::NotPem { .. }), "{error}");
}

#[test]
fn bad_signing_requests_are_refused() {
    let mut ca = authority();
    let good = KeyPair::generate().unwrap();
    let good = CertificateParams::default()
        .serialize_request(&good)
        .unwrap();
    let other_kind = KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    let other_kind = CertificateParams::default()
        .serialize_request(&other_kind)
        .unwrap();
    // One bit of the public key: the signature no longer fits what it asks for.
    let mut forged = good.der().to_vec();
    let key_at = forged.len() / 3;
    forged[key_at] ^= 1;
    let forged = pem_request(&forged);
    let trailing = pem_request(&[good.der().as_ref(), b"more"].concat());
    let wrong_label = good
        .pem()
        .unwrap()
        .replace("CERTIFICATE REQUEST", "CERTIFICATE");
    for (what, csr) in [
        ("nothing", String::new()),
        ("garbage", pem_request(b"garbage")),
        ("another kind of key", other_kind.pem().unwrap()),
        ("forged", forged),
        ("trailing bytes", trailing),
        ("wrong label", wrong_label),
    ] {
        let with_csr = Order {
            csr: Some(&csr),
            ..order("app", Kind::Client)
        };
        let error = ca.issue(&with_csr, at(NOW)).unwrap_err();
        assert!(matches!(error, IdentityError::Csr(_)), "{what}: {error}");
    }
    assert!(ca.entries().is_empty(), "nothing was issued");
}

/// PEM by way of a library that writes any label.
fn pem_request(der: &[u8]) -> String {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = "-----BEGIN CERTIFICATE REQUEST-----\n".to_owned();
    for (at, three) in der.chunks(3).enumerate() {
        let mut bits = 0;
        for place in 0..3 {
            bits = bits << 8 | usize::from(three.get(place).copied().unwrap_or(0));
        }
        for place in 0..4 {
            let digit = char::from(DIGITS[bits >> (18 - 6 * place) & 63]);
            text.push(if place <= three.len() { digit } else { '=' });
        }
        if at % 16 == 15 {
            text.push('\n');
        }
    }
    text + "\n-----END CERTIFICATE REQUEST-----\n"
}

#[test]
fn the_number_of_the_list_only_grows() {
    let mut ca = authority();
    let first = ca.crl_number();
    let issued = ca.issue(&order("n", Kind::Node), at(NOW)).unwrap();
    ca.revoke_serial(&issued.certified.serial, at(NOW)).unwrap();
    let second = ca.crl_number();
    // The clock was set back by a year: the number must not follow.
    let third = ca.reissue_crl(at(NOW - 365 * DAY)).unwrap();
    assert!(first < second && second < third, "{first} {second} {third}");
    assert_eq!(
        list(ca.crl()).crl_number().unwrap().to_u64_digits(),
        [third]
    );
    // And it jumps with the clock, so that a restored backup cannot repeat a number.
    assert_eq!(ca.reissue_crl(at(NOW + DAY)).unwrap(), NOW + DAY);
}

#[test]
fn the_list_holds_the_revoked_and_says_when_the_next_is_due() {
    let mut ca = authority();
    assert_eq!(list(ca.crl()).iter_revoked_certificates().count(), 0);
    let good = ca
        .issue(&order("good", Kind::Node), at(NOW))
        .unwrap()
        .certified;
    let bad = ca.issue(&order("bad", Kind::Node), at(NOW)).unwrap();
    let entry = ca
        .revoke_certificate(bad.certificate_pem(), at(NOW + 5))
        .unwrap();
    assert_eq!((entry.name.as_str(), entry.revoked), ("bad", Some(NOW + 5)));
    let again = ca
        .revoke_serial(&bad.certified.serial, at(NOW + 9))
        .unwrap();
    assert_eq!(again.revoked, Some(NOW + 5), "the first date stays");

    let now = list(ca.crl());
    let revoked: Vec<_> = now
        .iter_revoked_certificates()
        .map(|one| Serial::from_bytes(one.raw_serial()))
        .collect();
    assert_eq!(revoked, std::slice::from_ref(&bad.certified.serial));
    assert_ne!(revoked, [good.serial]);
    assert_eq!(
        now.next_update().unwrap().timestamp(),
        (NOW + 9 + 30 * DAY) as i64
    );
    now.verify_signature(x509(ca.certificate()).public_key())
        .unwrap();

    let error = ca
        .revoke_serial(&"abcd".parse().unwrap(), at(NOW))
        .unwrap_err();
    assert!(matches!(error, IdentityError::UnknownSerial(_)), "{error}");
}

#[test]
fn the_list_forgets_certificates_a_week_after_their_end() {
    let mut ca = authority();
    let bad = ca
        .issue(&order("bad", Kind::Node), at(NOW))
        .unwrap()
        .certified;
    ca.revoke_serial(&bad.serial, at(NOW)).unwrap();
    ca.reissue_crl(at(NOW + 97 * DAY)).unwrap();
    assert_eq!(list(ca.crl()).iter_revoked_certificates().count(), 1);
    ca.reissue_crl(at(NOW + 97 * DAY + 1)).unwrap();
    assert_eq!(list(ca.crl()).iter_revoked_certificates().count(), 0);
}

#[test]
fn no_leaf_outlives_its_authority() {
    let mut ca = authority();
    let end = ca.not_after();
    let forever = Order {
        valid: Duration::MAX,
        ..order("n", Kind::Node)
    };
    assert_eq!(
        ca.issue(&forever, at(NOW)).unwrap().certified.not_after,
        end
    );
    let late = at(end.as_secs() - 59);
    let error = ca.issue(&order("n", Kind::Node), late).unwrap_err();
    assert!(matches!(error, IdentityError::CaExpired { .. }), "{error}");
    let short = Order {
        valid: Duration::from_secs(59),
        ..order("n", Kind::Node)
    };
    let error = ca.issue(&short, at(NOW)).unwrap_err();
    assert!(matches!(error, IdentityError::Validity), "{error}");
}

#[test]
fn clocks_at_either_end_of_time_are_survived() {
    for seconds in [0, 1, u64::MAX / 2, u64::MAX] {
        let Ok(mut ca) = CertificateAuthority::in_memory(CLUSTER, at(seconds)) else {
            continue;
        };
        let _ = ca.issue(&order("n", Kind::Node), at(seconds));
        let _ = ca.reissue_crl(at(seconds));
    }
}

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
