//! Looking at a node without disturbing it: its getters, and nothing that is an event.

use chord_core::event::{Restored, State, Status, View};
use chord_core::node::Node;
use chord_core::time::Now;

/// How a node is.
pub(super) fn status(node: &Node, now: Now) -> Status {
    node.status(now.mono)
}

/// What a member believes of the ring; `None` if it is none.
pub(super) fn view(node: &Node, now: Now) -> Option<View> {
    let status = status(node, now);
    (status.state == State::Joined).then_some(View {
        me: status.me,
        predecessor: status.predecessor,
        successors: status.successors,
    })
}

/// What the next life of a node starts from.
pub(super) fn restored(node: &Node) -> Restored {
    Restored {
        peers: node.known_peers(),
        clock: node.clock(),
    }
}

/// What is wrong inside a node.
pub(super) fn check(node: &Node) -> Option<String> {
    node.check().err().map(|error| error.to_string())
}
