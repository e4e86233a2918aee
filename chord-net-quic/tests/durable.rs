//! Nodes that keep their records on disk.

mod common;

use std::fs;
use std::path::Path;

use bytes::Bytes;
use chord_core::message::Version;
use chord_net_quic::identity::Identity;
use chord_net_quic::{Node, NodeConfig, PutOptions, Shutdown, StartError, Stopped, StoreKind};
use common::{Cluster, config, in_order, joined, key, log, until};

fn on_disk(dir: &Path, identity: &Identity, join: &[&Node]) -> NodeConfig {
    NodeConfig {
        data_dir: Some(dir.to_owned()),
        store: StoreKind::Redb,
        ..config(identity.clone(), join)
    }
}

/// Starts in a directory that was just given up, once it is free.
async fn attempt(cluster: &Cluster, config: impl Fn() -> NodeConfig) -> Result<Node, StartError> {
    loop {
        match Node::start_on(&cluster.threads, config()).await {
            Err(StartError::Locked(_)) => tokio::task::yield_now().await,
            other => return other,
        }
    }
}

/// The same, and waits until it is a member.
async fn start(cluster: &Cluster, config: impl Fn() -> NodeConfig) -> Node {
    let node = attempt(cluster, config).await.expect("starts");
    joined(&node).await;
    node
}

async fn put(node: &Node, n: u32, value: &str) -> Version {
    let value = Bytes::copy_from_slice(value.as_bytes());
    loop {
        let name = key(&format!("key {n}"));
        if let Ok(version) = node.put(name, value.clone(), PutOptions::default()).await {
            return version;
        }
        tokio::task::yield_now().await;
    }
}

async fn get(node: &Node, n: u32) -> Option<String> {
    loop {
        if let Ok(found) = node.get(key(&format!("key {n}")), false).await {
            return found.map(|record| String::from_utf8_lossy(&record.value).into_owned());
        }
        tokio::task::yield_now().await;
    }
}

/// Ten overwritten, ten deleted, ten as they were first.
async fn all_there(node: &Node) {
    for n in 0..30 {
        let expected = match n {
            0..10 => Some(format!("second {n}")),
            10..20 => None,
            _ => Some(format!("first {n}")),
        };
        assert_eq!(get(node, n).await, expected, "key {n}");
    }
}

#[tokio::test]
async fn what_a_lone_node_acknowledged_is_there_after_a_kill_and_after_a_leave() {
    let mut cluster = Cluster::new();
    let identity = cluster.identity();
    let dir = tempfile::tempdir().expect("a directory");
    let again = || on_disk(dir.path(), &identity, &[]);
    let node = start(&cluster, again).await;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let store = fs::metadata(dir.path().join("store.redb")).expect("it was made");
        assert_eq!(
            store.permissions().mode() & 0o777,
            0o600,
            "values are not for everybody"
        );
    }
    let mut highest = Version::default();
    for n in 0..30 {
        highest = put(&node, n, &format!("first {n}")).await;
    }
    for n in 0..10 {
        highest = put(&node, n, &format!("second {n}")).await;
    }
    for n in 10..20 {
        node.remove(key(&format!("key {n}")), None)
            .await
            .expect("removed");
    }
    all_there(&node).await;
    let life = node.status().await.expect("lives").node.me.incarnation;
    node.kill();
    drop(node);
    // Nothing but the store knows how far versions and lives have come.
    fs::remove_file(dir.path().join("node.json")).expect("it was there");
    let node = start(&cluster, again).await;
    let status = node.status().await.expect("lives");
    assert!(status.node.me.incarnation > life);
    assert_eq!(status.records, 20);
    all_there(&node).await;
    assert!(put(&node, 20, "first 20").await > highest);
    let Shutdown { handed_over, .. } = node.shutdown().await;
    assert_eq!((node.stopped().await, handed_over), (Stopped::Left, 0));
    drop(node);
    let node = start(&cluster, again).await;
    all_there(&node).await;
}

#[tokio::test]
async fn a_ring_on_disks_survives_that_all_its_nodes_are_killed() {
    let mut cluster = Cluster::new();
    let dirs: Vec<_> = (0..3)
        .map(|_| tempfile::tempdir().expect("a directory"))
        .collect();
    let mut identities = Vec::new();
    let mut nodes: Vec<Node> = Vec::new();
    for dir in &dirs {
        let identity = cluster.identity();
        let first: Vec<&Node> = nodes.iter().take(1).collect();
        let node = on_disk(dir.path(), &identity, &first);
        let node = cluster.start(node).await;
        joined(&node).await;
        identities.push(identity);
        nodes.push(node);
    }
    in_order(&nodes).await;
    for n in 0..30 {
        put(&nodes[n as usize % 3], n, &format!("first {n}")).await;
    }
    let addrs: Vec<_> = nodes.iter().map(Node::addr).collect();
    // Everybody remembers everybody.
    for dir in &dirs {
        until("the others are remembered", || async {
            let text = fs::read_to_string(dir.path().join("node.json")).expect("it is there");
            nodes
                .iter()
                .filter(|node| text.contains(&node.addr().to_string()))
                .count()
                >= 2
        })
        .await;
    }
    nodes.iter().for_each(Node::kill);
    drop(nodes);
    let mut nodes = Vec::new();
    for ((dir, identity), addr) in dirs.iter().zip(&identities).zip(&addrs) {
        loop {
            let again = NodeConfig {
                listen: *addr,
                ..on_disk(dir.path(), identity, &[])
            };
            match Node::start_on(&cluster.threads, again).await {
                Ok(node) => break nodes.push(node),
                Err(StartError::Locked(_) | StartError::Bind { .. }) => {
                    tokio::task::yield_now().await;
                }
                Err(other) => panic!("{other}"),
            }
        }
    }
    for node in &nodes {
        joined(node).await;
    }
    in_order(&nodes).await;
    for n in 0..30 {
        assert_eq!(
            get(&nodes[n as usize % 3], n).await,
            Some(format!("first {n}"))
        );
    }
}

#[tokio::test]
async fn a_store_on_disk_wants_a_directory_and_its_own_node() {
    let mut cluster = Cluster::new();
    let (identity, other) = (cluster.identity(), cluster.identity());
    let nowhere = NodeConfig {
        data_dir: None,
        ..on_disk(Path::new(""), &identity, &[])
    };
    let refused = Node::start_on(&cluster.threads, nowhere).await;
    assert!(matches!(refused, Err(StartError::NoDataDir)));
    let dir = tempfile::tempdir().expect("a directory");
    drop(start(&cluster, || on_disk(dir.path(), &identity, &[])).await);
    let elsewhere = tempfile::tempdir().expect("a directory");
    let (from, to) = (
        dir.path().join("store.redb"),
        elsewhere.path().join("store.redb"),
    );
    fs::copy(from, to).expect("copies");
    match Node::start_on(&cluster.threads, on_disk(elsewhere.path(), &other, &[])).await {
        Err(StartError::Foreign { path, .. }) => assert!(path.ends_with("store.redb")),
        other => panic!("{:?}", other.map(|node| node.id())),
    }
}

#[tokio::test]
async fn damage_met_while_running_ends_the_node_with_the_cause_and_the_next_begins_empty() {
    let mut cluster = Cluster::new();
    let identity = cluster.identity();
    let dir = tempfile::tempdir().expect("a directory");
    let again = || on_disk(dir.path(), &identity, &[]);
    let node = start(&cluster, again).await;
    put(&node, 1, "a value that nothing else looks like").await;
    node.shutdown().await;
    drop(node);
    let path = dir.path().join("store.redb");
    // The lock is free once the store is closed.
    until("it was closed", || async {
        fs::File::open(&path)
            .expect("it is there")
            .try_lock()
            .is_ok()
    })
    .await;
    let mut bytes = fs::read(&path).expect("reads");
    let needle = b"a value that nothing";
    let mut places = 0;
    for at in 0..bytes.len() - needle.len() {
        if bytes[at..].starts_with(needle) {
            bytes[at] ^= 1;
            places += 1;
        }
    }
    assert!(places > 0);
    fs::write(&path, bytes).expect("writes");
    let node = start(&cluster, again).await;
    match node.get(key("key 1"), false).await {
        Err(_) => {}
        Ok(found) => panic!("{found:?}"),
    }
    match node.stopped().await {
        Stopped::Damaged { why, alone } => assert!(why.contains("checksum") && alone, "{why}"),
        other => panic!("{other:?}"),
    }
    drop(node);
    assert!(dir.path().join("store.redb.damaged-1").exists());
    let node = start(&cluster, again).await;
    assert_eq!(get(&node, 1).await, None);
}

/// What `node.json` says the records of a node are worth.
fn marks(dir: &Path) -> usize {
    let text = fs::read_to_string(dir.join("node.json")).expect("it is there");
    let known: serde_json::Value = serde_json::from_str(&text).expect("a document");
    let of_positions = known["marks"].as_array().expect("a list");
    let counts = of_positions
        .iter()
        .filter_map(|marks| marks.as_array().map(Vec::len));
    counts.sum()
}

#[tokio::test]
async fn an_emptied_store_is_announced_and_nothing_is_claimed_of_what_it_held() {
    log::record();
    let mut cluster = Cluster::new();
    let identity = cluster.identity();
    for empty in [true, false] {
        let dir = tempfile::tempdir().expect("a directory");
        let again = || on_disk(dir.path(), &identity, &[]);
        let node = start(&cluster, again).await;
        put(&node, 1, "x").await;
        until("it says what its records are worth", || async {
            marks(dir.path()) > 0
        })
        .await;
        node.kill();
        drop(node);
        let store = dir.path().join("store.redb");
        let about = store.display().to_string();
        let announced = ["ERROR", "its store is missing or empty", &about];
        assert!(log::lines(&announced).is_empty());
        // The lock of the host outlives that of its store.
        until("its directory was let go", || async {
            fs::File::open(dir.path().join("lock"))
                .expect("it is there")
                .try_lock()
                .is_ok()
        })
        .await;
        match empty {
            true => drop(fs::File::create(&store).expect("emptied")),
            false => fs::remove_file(&store).expect("removed"),
        }
        // A store that cannot be made: the node does not live, and its memory is corrected.
        let obstacle = dir.path().join("store.redb.new");
        if !empty {
            fs::create_dir(&obstacle).expect("made");
            let refused = Node::start_on(&cluster.threads, again()).await;
            assert!(
                matches!(refused, Err(StartError::Store { .. })),
                "{refused:?}"
            );
            assert_eq!(
                marks(dir.path()),
                0,
                "forgotten before there is a new store"
            );
            fs::remove_dir(&obstacle).expect("removed");
        }
        // Nobody answers it, so it never has anything that is worth a mark.
        let alone = || NodeConfig {
            join: vec!["127.0.0.1:1".to_owned()],
            ..again()
        };
        let node = attempt(&cluster, alone).await.expect("starts");
        node.kill();
        assert_eq!(marks(dir.path()), 0);
        assert_eq!(log::lines(&announced).len(), 1, "{about}");
    }
}

#[tokio::test]
async fn what_records_in_memory_were_worth_is_not_remembered() {
    let mut cluster = Cluster::new();
    let identity = cluster.identity();
    let dir = tempfile::tempdir().expect("a directory");
    let node = start(&cluster, || on_disk(dir.path(), &identity, &[])).await;
    until("it says what its records are worth", || async {
        marks(dir.path()) > 0
    })
    .await;
    node.kill();
    drop(node);
    let in_memory = || NodeConfig {
        store: StoreKind::Memory,
        ..on_disk(dir.path(), &identity, &[])
    };
    let node = start(&cluster, in_memory).await;
    assert_eq!(marks(dir.path()), 0);
    put(&node, 1, "x").await;
    node.shutdown().await;
    node.stopped().await;
    assert_eq!(marks(dir.path()), 0);
}

#[tokio::test]
async fn a_damaged_memory_of_the_host_comes_with_the_remedy_which_costs_no_record() {
    let mut cluster = Cluster::new();
    let identity = cluster.identity();
    let dir = tempfile::tempdir().expect("a directory");
    let again = || on_disk(dir.path(), &identity, &[]);
    let node = start(&cluster, again).await;
    put(&node, 1, "x").await;
    node.shutdown().await;
    drop(node);
    let path = dir.path().join("node.json");
    let text = fs::read_to_string(&path).expect("reads");
    fs::write(&path, &text[..text.len() / 2]).expect("writes");
    let said = match attempt(&cluster, again).await {
        Err(error @ StartError::Damaged { .. }) => error.to_string(),
        other => panic!("{other:?}"),
    };
    let aside = dir.path().join("node.json.damaged");
    let remedy = format!("`mv {} {}`", path.display(), aside.display());
    assert!(
        said.contains(&remedy) && said.contains("no record is lost"),
        "{said}"
    );
    fs::rename(&path, &aside).expect("moved");
    let node = start(&cluster, again).await;
    assert_eq!(get(&node, 1).await.as_deref(), Some("x"));
}

#[tokio::test]
async fn a_directory_that_cannot_be_used_comes_with_the_remedy() {
    let mut cluster = Cluster::new();
    let identity = cluster.identity();
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("file");
    fs::write(&file, "x").expect("writes");
    let blocked = |name: &str| {
        let dir = dir.path().join(name.replace('.', "-"));
        fs::create_dir_all(dir.join(name)).expect("made");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            // Or its mode would be refused first, where a secret belongs.
            let mode = fs::Permissions::from_mode(0o700);
            fs::set_permissions(dir.join(name), mode).expect("changed");
        }
        dir
    };
    for (place, words) in [
        (file.clone(), "no directory"),
        (file.join("below"), "no directory"),
        (blocked("lock"), "a directory stands where a file belongs"),
        (
            blocked("node.json"),
            "a directory stands where a file belongs",
        ),
        (
            blocked("reset.key"),
            "a directory stands where a file belongs",
        ),
        (
            blocked("store.redb"),
            "a directory stands where a file belongs",
        ),
    ] {
        let refused = Node::start_on(&cluster.threads, on_disk(&place, &identity, &[])).await;
        match refused {
            Err(error @ StartError::DataDir { .. }) => {
                let said = error.to_string();
                assert!(
                    said.contains(words) && said.contains(&place.display().to_string()),
                    "{said}"
                );
            }
            other => panic!("{place:?}: {other:?}"),
        }
    }
}
