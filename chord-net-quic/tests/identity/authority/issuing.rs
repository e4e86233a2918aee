//! What stands in the certificates of an authority, its own and those it issues.

use super::*;

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
