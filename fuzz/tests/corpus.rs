//! The committed corpus, replayed on stable.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use chord_core::event::{Action, Notice, Outcome};
use chord_core::message::Response;
use fuzz::node::Seen;

/// Every input of a target, by path.
fn corpus(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("corpus")
        .join(target);
    let entries = fs::read_dir(&folder).expect("the corpus is committed");
    let mut paths: Vec<_> = entries
        .map(|entry| entry.expect("an entry").path())
        .collect();
    paths.sort();
    assert!(!paths.is_empty(), "no inputs in {}", folder.display());
    let read = |path: PathBuf| {
        let bytes = fs::read(&path).expect("a file");
        (path, bytes)
    };
    paths.into_iter().map(read).collect()
}

fn replay(target: &str, function: fn(&[u8])) {
    for (path, bytes) in corpus(target) {
        println!("{}", path.display());
        function(&bytes);
    }
}

#[test]
fn the_wire_corpus_breaks_no_law() {
    replay("wire", fuzz::wire);
}

#[test]
fn the_tcp_corpus_breaks_no_law() {
    replay("tcp", fuzz::tcp);
}

#[test]
fn the_node_corpus_breaks_no_law() {
    replay("node", fuzz::node);
}

#[test]
fn the_shortest_inputs_break_no_law() {
    for function in [fuzz::wire, fuzz::tcp, fuzz::node] {
        function(&[]);
        for byte in 0..=255 {
            function(&[byte]);
            function(&[1, byte]);
        }
    }
}

/// Scripts that end before anything happens would break no law either.
#[test]
fn the_node_corpus_gets_somewhere() {
    let mut reached = BTreeSet::new();
    for (_, bytes) in corpus("node") {
        let mut note = |seen: Seen<'_>| {
            let Seen::Action(action) = seen else { return };
            let what = match action {
                Action::Notice(Notice::Joined { founded: true }) => "founded a ring",
                Action::Notice(Notice::Joined { founded: false }) => "joined a ring",
                Action::Notice(Notice::PeerLost { .. }) => "lost a peer",
                Action::Notice(Notice::Settled) => "settled",
                Action::Finish {
                    result: Ok(Outcome::Written { .. }),
                    ..
                } => "wrote",
                Action::Finish {
                    result: Ok(Outcome::Got { record: Some(_) }),
                    ..
                } => "read",
                Action::Finish {
                    result: Ok(Outcome::Left { .. }),
                    ..
                } => "left",
                Action::Finish { result: Err(_), .. } => "failed",
                Action::Reply {
                    response: Response::Written { .. },
                    ..
                } => "wrote for a peer",
                Action::Reply {
                    response:
                        Response::Notified {
                            granted: Some(_), ..
                        },
                    ..
                } => "granted a span",
                _ => return,
            };
            reached.insert(what);
        };
        fuzz::node::play(&bytes, &mut note).expect("no law is broken");
    }
    let wanted = [
        "failed",
        "founded a ring",
        "granted a span",
        "joined a ring",
        "left",
        "lost a peer",
        "read",
        "settled",
        "wrote",
        "wrote for a peer",
    ];
    assert!(reached.iter().eq(&wanted), "only {reached:?}");
}
