//! Every mistake that an operator can make with files, each with its own words.

use chord_net_quic::identity::{
    self, CertificateAuthority, Certified, Identity, IdentityError, IdentityFiles, Kind, Trust,
};
use rcgen::{BasicConstraints, CertificateParams, GeneralSubtree, IsCa, KeyPair, KeyUsagePurpose};
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer};

use crate::support::{
    CLUSTER, World, authority_params, in_seconds, list_by, node_params, order, sign, write,
};

fn load(files: &IdentityFiles) -> Result<Identity, IdentityError> {
    Identity::load(files, identity::now())
}

/// The error of a load, whose message must tell a remedy: it has a second half.
fn refused(files: &IdentityFiles) -> IdentityError {
    let error = load(files).unwrap_err();
    let text = error.to_string();
    assert!(text.contains("; "), "no remedy in: {text}");
    assert!(!text.contains("PRIVATE KEY"), "{text}");
    error
}

#[test]
fn good_files_are_loaded() {
    let mut world = World::new();
    for kind in [Kind::Node, Kind::Client, Kind::Admin] {
        let files = world.files(kind.as_str(), kind);
        let identity = load(&files).unwrap();
        assert_eq!(identity.certified(), Certified::read(&files.cert).unwrap());
        assert_eq!(identity.cluster().as_str(), CLUSTER);
        assert_eq!(identity.node_id().is_ok(), kind == Kind::Node);
        assert!(identity.warnings(identity::now()).is_empty());
    }
}

#[test]
fn a_client_is_not_taken_for_a_node() {
    let mut world = World::new();
    let error = world.identity("app", Kind::Client).node_id().unwrap_err();
    assert!(
        matches!(
            error,
            IdentityError::WrongRole {
                found: Kind::Client,
                wanted: Kind::Node
            }
        ),
        "{error}"
    );
    assert!(error.to_string().contains("--role node"), "{error}");
}

#[test]
fn each_missing_file_is_named() {
    let mut world = World::new();
    let good = world.files("n", Kind::Node);
    let nowhere = world.dir.path().join("nowhere");
    for files in [
        IdentityFiles {
            ca: nowhere.clone(),
            ..good.clone()
        },
        IdentityFiles {
            cert: nowhere.clone(),
            ..good.clone()
        },
        IdentityFiles {
            key: nowhere.clone(),
            ..good.clone()
        },
        IdentityFiles {
            crl: nowhere.clone(),
            ..good.clone()
        },
    ] {
        let error = refused(&files);
        assert!(
            matches!(&error, IdentityError::Read { path, .. } if *path == nowhere),
            "{error}"
        );
        assert!(error.to_string().contains("nowhere"), "{error}");
    }
}

#[test]
fn files_in_each_others_place_are_noticed() {
    let mut world = World::new();
    let good = world.files("n", Kind::Node);
    for files in [
        IdentityFiles {
            ca: good.key.clone(),
            ..good.clone()
        },
        IdentityFiles {
            ca: good.crl.clone(),
            ..good.clone()
        },
        IdentityFiles {
            cert: good.key.clone(),
            ..good.clone()
        },
        IdentityFiles {
            crl: good.ca.clone(),
            ..good.clone()
        },
    ] {
        let error = refused(&files);
        assert!(matches!(error, IdentityError::NotPem { .. }), "{error}");
    }
    // A leaf is no authority, an authority no leaf.
    let error = refused(&IdentityFiles {
        ca: good.cert.clone(),
        ..good.clone()
    });
    assert!(matches!(error, IdentityError::CaShape(_)), "{error}");
    let error = refused(&IdentityFiles {
        cert: good.ca.clone(),
        ..good.clone()
    });
    assert!(matches!(error, IdentityError::Shape(_)), "{error}");
    // The key of the certificate of somebody else, empty files, nonsense.
    let empty = world.dir.path().join("empty");
    write(&empty, "");
    for files in [
        IdentityFiles {
            ca: empty.clone(),
            ..good.clone()
        },
        IdentityFiles {
            cert: empty.clone(),
            ..good.clone()
        },
        IdentityFiles {
            crl: empty.clone(),
            ..good.clone()
        },
    ] {
        assert!(matches!(refused(&files), IdentityError::NotPem { .. }));
    }
    write(&good.key, "nonsense");
    assert!(matches!(
        refused(&good),
        IdentityError::NotPem {
            what: "private key",
            ..
        }
    ));
}

#[cfg(unix)]
#[test]
fn a_key_that_others_may_read_is_refused() {
    use std::os::unix::fs::PermissionsExt;
    let mut world = World::new();
    let files = world.files("n", Kind::Node);
    for (mode, good) in [
        (0o600, true),
        (0o400, true),
        (0o640, false),
        (0o644, false),
        (0o602, false),
        (0o610, false),
    ] {
        std::fs::set_permissions(&files.key, std::fs::Permissions::from_mode(mode)).unwrap();
        match load(&files) {
            Ok(_) => assert!(good, "{mode:o} was accepted"),
            Err(error) => {
                assert!(!good, "{mode:o}: {error}");
                assert!(error.to_string().contains("chmod 600"), "{error}");
                assert!(
                    matches!(error, IdentityError::LoosePermissions { .. }),
                    "{error}"
                );
            }
        }
    }
}

#[test]
fn a_key_that_does_not_fit_is_refused() {
    let mut world = World::new();
    let (one, other) = (
        world.files("one", Kind::Node),
        world.files("other", Kind::Node),
    );
    let error = refused(&IdentityFiles {
        key: other.key,
        ..one
    });
    let IdentityError::KeyMismatch { certificate, key } = error else {
        panic!("{error}")
    };
    assert!(certificate.ends_with("one.pem") && key.ends_with("other.key"));
}

#[test]
fn a_certificate_of_another_cluster_is_refused() {
    let (mut world, mut other) = (World::new(), World::of("other.example"));
    let files = world.files("n", Kind::Node);
    let theirs = other.files("n", Kind::Node);
    let error = refused(&IdentityFiles {
        cert: theirs.cert,
        key: theirs.key,
        ..files
    });
    let IdentityError::ForeignCluster { found, expected } = error else {
        panic!("{error}")
    };
    assert_eq!(
        (found.as_str(), expected.as_str()),
        ("other.example", CLUSTER)
    );
}

#[test]
fn a_certificate_of_another_authority_of_the_same_cluster_is_refused() {
    let (mut world, mut other) = (World::new(), World::new());
    let files = world.files("n", Kind::Node);
    let theirs = other.files("n", Kind::Node);
    let error = refused(&IdentityFiles {
        cert: theirs.cert,
        key: theirs.key,
        ..files
    });
    assert!(matches!(error, IdentityError::UnknownIssuer), "{error}");
}

#[test]
fn certificates_out_of_their_time_are_refused() {
    let mut world = World::new();
    let issued = world.issue("n", Kind::Node);
    let load = |seconds| Identity::in_memory(&world.ca, &issued, in_seconds(seconds));
    assert!(load(0).is_ok());
    let end = 90 * 86_400;
    assert!(load(end - 60).is_ok());
    let error = load(end + 60).unwrap_err();
    assert!(matches!(error, IdentityError::Expired { .. }), "{error}");
    assert!(error.to_string().contains("cert renew"), "{error}");
    let error = load(-600).unwrap_err();
    assert!(
        matches!(error, IdentityError::NotYetValid { .. }),
        "{error}"
    );
    assert!(error.to_string().contains("clock"), "{error}");
}

#[test]
fn a_revoked_certificate_is_refused() {
    let mut world = World::new();
    let files = world.files("n", Kind::Node);
    let serial = Certified::read(&files.cert).unwrap().serial;
    world.ca.revoke_serial(&serial, identity::now()).unwrap();
    assert!(matches!(refused(&files), IdentityError::Revoked));
}

#[test]
fn a_certificate_file_holds_one_certificate() {
    let mut world = World::new();
    let files = world.files("n", Kind::Node);
    let leaf = std::fs::read_to_string(&files.cert).unwrap();
    write(
        &files.cert,
        &[leaf.as_str(), world.ca.certificate_pem()].concat(),
    );
    let error = refused(&files);
    assert!(
        matches!(error, IdentityError::Several { count: 2, .. }),
        "{error}"
    );
}

#[test]
fn a_leaf_of_the_wrong_shape_is_refused() {
    let mut world = World::new();
    let files = world.files("n", Kind::Node);
    let mut params = node_params(CLUSTER);
    params.subject_alt_names.truncate(1);
    let pair = sign(&params, &world.issuer());
    let key = KeyPair::try_from(&pair.key).unwrap();
    let certificate = params.signed_by(&key, &world.issuer()).unwrap();
    write(&files.cert, &certificate.pem());
    write(&files.key, &key.serialize_pem());
    assert!(matches!(refused(&files), IdentityError::Shape(_)));
}

#[test]
fn an_authority_without_a_list_is_refused() {
    let (mut world, other) = (World::new(), World::new());
    let files = world.files("n", Kind::Node);
    write(&files.crl, other.ca.crl_pem());
    let error = refused(&files);
    assert!(
        matches!(&error, IdentityError::NoCrl(name) if name == world.ca.name()),
        "{error}"
    );
    assert!(error.to_string().contains("ca crl"), "{error}");

    // Each of several authorities needs its own.
    let files = world.files_of("n");
    write(&files.crl, world.ca.crl_pem());
    assert!(load(&files).is_ok());
    write(
        &files.ca,
        &[world.ca.certificate_pem(), other.ca.certificate_pem()].concat(),
    );
    let error = refused(&files);
    assert!(
        matches!(&error, IdentityError::NoCrl(name) if name == other.ca.name()),
        "{error}"
    );
    write(
        &files.crl,
        &[other.ca.crl_pem(), world.ca.crl_pem()].concat(),
    );
    let trust = load(&files).unwrap().trust();
    assert_eq!(trust.authorities().len(), 2);
    assert_eq!(trust.lists().len(), 2);
}

#[test]
fn lists_of_authorities_that_are_not_trusted_are_left_out() {
    let (mut world, other) = (World::new(), World::new());
    let files = world.files("n", Kind::Node);
    write(
        &files.crl,
        &[other.ca.crl_pem(), world.ca.crl_pem()].concat(),
    );
    let trust = load(&files).unwrap().trust();
    assert_eq!(trust.lists(), [world.ca.crl().clone()]);
}

#[test]
fn of_several_lists_of_one_authority_the_highest_number_counts() {
    let mut world = World::new();
    let old = world.ca.crl_pem().to_owned();
    let bad = world.issue("bad", Kind::Node);
    world
        .ca
        .revoke_serial(&bad.certified.serial, identity::now())
        .unwrap();
    let new = world.ca.crl_pem().to_owned();
    let files = world.files("n", Kind::Node);
    for bundle in [[old.as_str(), &new], [&new, old.as_str()]] {
        write(&files.crl, &bundle.concat());
        let trust = load(&files).unwrap().trust();
        assert_eq!(trust.authorities()[0].crl_number, world.ca.crl_number());
        assert_eq!(
            trust.lists(),
            [world.ca.crl().clone()],
            "exactly one is in force"
        );
        let error = trust
            .verify(bad.certificate(), identity::now())
            .unwrap_err();
        assert!(matches!(error, IdentityError::Revoked), "{error}");
    }
}

#[test]
fn a_wrongly_signed_list_is_refused_before_it_is_in_force() {
    let mut world = World::new();
    let files = world.files("n", Kind::Node);
    let forged = list_by(&world, KeyPair::generate().unwrap(), u64::MAX, 86_400);
    // Alone, before and after the good one: never in force, never silently dropped.
    let good = world.ca.crl_pem().to_owned();
    for bundle in [
        forged.clone(),
        [forged.as_str(), &good].concat(),
        [good.as_str(), &forged].concat(),
    ] {
        write(&files.crl, &bundle);
        let error = refused(&files);
        assert!(matches!(error, IdentityError::CrlSignature(_)), "{error}");
    }
}

#[test]
fn a_damaged_list_is_refused() {
    let mut world = World::new();
    let files = world.files("n", Kind::Node);
    let certificate = [world.ca.certificate().clone()];
    let good = world.ca.crl().to_vec();
    for (what, der) in [
        ("cut", good[..good.len() - 1].to_vec()),
        ("longer", [good.as_slice(), b"x"].concat()),
        ("garbage", b"garbage".to_vec()),
    ] {
        let list = [CertificateRevocationListDer::from(der)];
        let error = Trust::new(&certificate, &list, false).unwrap_err();
        assert!(
            matches!(error, IdentityError::CrlMalformed(_)),
            "{what}: {error}"
        );
    }
    // Every flipped bit either leaves no list at all or breaks the signature.
    for at in (0..good.len()).step_by(7) {
        let mut bent = good.clone();
        bent[at] ^= 1;
        let list = [CertificateRevocationListDer::from(bent)];
        assert!(Trust::new(&certificate, &list, false).is_err(), "byte {at}");
    }
    assert!(load(&files).is_ok());
}

#[test]
fn authorities_of_other_shapes_are_refused() {
    let good = || authority_params(CLUSTER, "demo CA");
    let mut long_path = good();
    long_path.is_ca = IsCa::Ca(BasicConstraints::Constrained(1));
    let mut endless_path = good();
    endless_path.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let mut leaf = good();
    leaf.is_ca = IsCa::ExplicitNoCa;
    let mut no_lists = good();
    no_lists.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let mut no_usage = good();
    no_usage.key_usages.clear();
    let mut unbound = good();
    unbound.name_constraints = None;
    let mut two_clusters = good();
    two_clusters
        .name_constraints
        .as_mut()
        .unwrap()
        .permitted_subtrees
        .push(GeneralSubtree::DnsName("other.example".to_owned()));
    let bad_cluster = authority_params("Not-A-Cluster", "demo CA");
    for (what, params) in [
        ("issues authorities", long_path),
        ("issues any depth", endless_path),
        ("a leaf", leaf),
        ("signs no lists", no_lists),
        ("no usage", no_usage),
        ("not bound", unbound),
        ("two clusters", two_clusters),
        ("bad cluster", bad_cluster),
    ] {
        let error = trust_in(&[authority(&params)]).unwrap_err();
        assert!(
            matches!(error, IdentityError::CaShape(_)),
            "{what}: {error}"
        );
    }
    // The control: unspoilt it gets as far as the list that it lacks.
    let error = trust_in(&[authority(&good())]).unwrap_err();
    assert!(matches!(error, IdentityError::NoCrl(_)), "{error}");
}

fn authority(params: &CertificateParams) -> CertificateDer<'static> {
    params
        .self_signed(&KeyPair::generate().unwrap())
        .unwrap()
        .der()
        .clone()
}

fn trust_in(authorities: &[CertificateDer<'static>]) -> Result<Trust, IdentityError> {
    Trust::new(authorities, &[], false)
}

#[test]
fn bundles_that_contradict_themselves_are_refused() {
    let twice = [
        authority(&authority_params(CLUSTER, "demo CA")),
        authority(&authority_params(CLUSTER, "demo CA")),
    ];
    let error = trust_in(&twice).unwrap_err();
    assert!(
        matches!(&error, IdentityError::CaTwice(name) if name == "demo CA"),
        "{error}"
    );

    let (one, other) = (World::new(), World::of("other.example"));
    let authorities = [one.ca.certificate().clone(), other.ca.certificate().clone()];
    let lists = [one.ca.crl().clone(), other.ca.crl().clone()];
    let error = Trust::new(&authorities, &lists, false).unwrap_err();
    assert!(matches!(error, IdentityError::MixedClusters(..)), "{error}");

    assert!(matches!(trust_in(&[]), Err(IdentityError::CaShape(_))));

    // The same authority twice is once.
    let authorities = [one.ca.certificate().clone(), one.ca.certificate().clone()];
    let trust = Trust::new(&authorities, &lists, false).unwrap();
    assert_eq!(trust.authorities().len(), 1);
}

#[test]
fn an_authority_with_a_damaged_signature_is_refused() {
    let world = World::new();
    let mut der = world.ca.certificate().to_vec();
    *der.last_mut().unwrap() ^= 1;
    let error = trust_in(&[CertificateDer::from(der)]).unwrap_err();
    assert!(matches!(error, IdentityError::CaShape(_)), "{error}");
}

#[test]
fn a_renewed_certificate_takes_the_place_of_the_old_one() {
    let now = identity::now();
    let mut ca = CertificateAuthority::in_memory(CLUSTER, now).unwrap();
    let old = ca.issue(&order("n", Kind::Node), now).unwrap();
    let new = ca
        .renew(old.certificate_pem(), identity::LEAF_VALID, None, now)
        .unwrap();
    let identity = Identity::in_memory(&ca, &new, now).unwrap();
    assert_eq!(identity.node_id().unwrap(), old.certified.id().unwrap());
}
