//! Looking at a node without disturbing it: its getters, and nothing that is an event.

use chord_core::event::{State, Status, View};
use chord_core::node::Node;
use chord_core::time::Instant;

/// How a node is.
pub(super) fn status(node: &Node, now: Instant) -> Status {
    node.status(now)
}

/// What a member believes of the ring; `None` if it is none.
pub(super) fn view(node: &Node, now: Instant) -> Option<View> {
    let status = status(node, now);
    (status.state == State::Joined).then_some(View {
        me: status.me,
        predecessor: status.predecessor,
        successors: status.successors,
    })
}

/// What is wrong inside a node.
pub(super) fn check(node: &Node) -> Option<String> {
    node.check().err().map(|error| error.to_string())
}
