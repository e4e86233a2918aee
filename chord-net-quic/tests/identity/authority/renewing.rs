//! Renewal, and certificates for keys made elsewhere.

use super::*;

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
