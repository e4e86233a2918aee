//! The list of the revoked, and how long things live.

use super::*;

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
