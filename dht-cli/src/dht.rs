//! What the servers need of a ring, and nothing else.
//!
//! Implemented by the live [`Node`] here and by a few lines of memory in tests, so that a
//! server can be tested on every order of completions without a ring.

#[cfg(test)]
pub(crate) mod fake;

use std::net::SocketAddr;

use bytes::Bytes;
use chord_core::event::{Failure, View};
use chord_core::id::Id;
use chord_core::message::{Key, Record, Version};
use chord_core::peer::Peer;
use chord_net_quic::{Counters, Found, Held, HostStatus, Node, PutOptions};

/// A ring to serve clients from: a cheap handle.
///
/// Every failure is a [`Failure`]: what the client should do next.
pub trait Dht: Clone + Send + Sync + 'static {
    /// Stores a record; done when a majority of its holders have it.
    fn put(
        &self,
        key: Key,
        value: Bytes,
        options: PutOptions,
    ) -> impl Future<Output = Result<Version, Failure>> + Send;

    /// Reads a record; `None` is certain.
    fn get(
        &self,
        key: Key,
        quorum: bool,
    ) -> impl Future<Output = Result<Option<Record>, Failure>> + Send;

    /// Deletes a record; a missing one is no failure.
    fn remove(
        &self,
        key: Key,
        expected: Option<Version>,
    ) -> impl Future<Output = Result<Version, Failure>> + Send;

    /// Finds the owner of a position.
    fn lookup(&self, target: Id) -> impl Future<Output = Result<Found, Failure>> + Send;

    /// The view of this node, or that of another member.
    fn view(&self, of: Option<Peer>) -> impl Future<Output = Result<View, Failure>> + Send;

    /// How the host is.
    fn status(&self) -> impl Future<Output = Result<HostStatus, Failure>> + Send;

    /// What the host counted.
    fn counters(&self) -> Counters;

    /// Where another member serves the Chord service, asked from that member; `None` if it
    /// serves none.
    fn service_of(
        &self,
        member: Peer,
    ) -> impl Future<Output = Result<Option<SocketAddr>, Failure>> + Send;

    /// Live records that this host holds, in the order of the ring, until their keys and
    /// values reach `bytes`.
    fn held(&self, bytes: usize) -> impl Future<Output = Result<Held, Failure>> + Send;
}

impl Dht for Node {
    async fn put(&self, key: Key, value: Bytes, options: PutOptions) -> Result<Version, Failure> {
        Self::put(self, key, value, options).await
    }

    async fn get(&self, key: Key, quorum: bool) -> Result<Option<Record>, Failure> {
        Self::get(self, key, quorum).await
    }

    async fn remove(&self, key: Key, expected: Option<Version>) -> Result<Version, Failure> {
        Self::remove(self, key, expected).await
    }

    async fn lookup(&self, target: Id) -> Result<Found, Failure> {
        Self::lookup(self, target).await
    }

    async fn view(&self, of: Option<Peer>) -> Result<View, Failure> {
        Self::view(self, of).await
    }

    async fn status(&self) -> Result<HostStatus, Failure> {
        Self::status(self).await
    }

    fn counters(&self) -> Counters {
        Self::counters(self)
    }

    async fn service_of(&self, member: Peer) -> Result<Option<SocketAddr>, Failure> {
        Self::service_of(self, member).await
    }

    async fn held(&self, bytes: usize) -> Result<Held, Failure> {
        Self::held(self, bytes).await
    }
}

/// What was asked for when something failed: what may have happened meanwhile depends on it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Asked {
    /// To store or delete a record.
    Write,
    /// Anything that changes nothing.
    Read,
}

/// A failure for people: what happened, what may have happened, what to do.
#[must_use]
pub fn failure_text(failure: Failure, asked: Asked) -> String {
    // Who only reads has nothing to lose and nothing to fear from asking again.
    let (unsure, certain) = match asked {
        Asked::Write => (
            "the write may survive, repeating it is safe",
            "nothing was written",
        ),
        Asked::Read => ("ask again", "ask again"),
    };
    match (failure, asked) {
        (Failure::Unavailable { stored, needed }, Asked::Write) => {
            format!("{stored} of {needed} holders answered; {unsure}")
        }
        (Failure::Unavailable { stored, needed }, Asked::Read) => {
            format!(
                "{stored} of the {needed} copies that are enough for an answer were found; {unsure}"
            )
        }
        (Failure::TimedOut, _) => format!("no answer in time; {unsure}"),
        (Failure::NotMember, Asked::Write) => {
            "this node is not a member of the ring now; nothing was written".to_owned()
        }
        (Failure::NotMember, Asked::Read) => {
            "this node is not a member of the ring now; ask again, or another node".to_owned()
        }
        (Failure::Overloaded, _) => format!("too much in flight; {certain}"),
        (Failure::Conflict { .. }, _) => {
            "the stored version is another one; nothing was written".to_owned()
        }
        (Failure::Invalid, _) => "the ring does not accept this request".to_owned(),
        (Failure::Full, _) => format!("a disk is full; {unsure}, once there is room"),
        (Failure::Storage, Asked::Write) => "a disk failed; the write may survive".to_owned(),
        (Failure::Storage, Asked::Read) => {
            "a disk failed, and its node leaves the ring; ask again".to_owned()
        }
    }
}

/// The stable word for a failure: label of counters, `code` of problem documents.
#[must_use]
pub fn failure_code(failure: Failure) -> &'static str {
    match failure {
        Failure::Unavailable { .. } => "unavailable",
        Failure::TimedOut => "timed_out",
        Failure::NotMember => "not_member",
        Failure::Overloaded => "overloaded",
        Failure::Conflict { .. } => "conflict",
        Failure::Invalid => "invalid",
        Failure::Full => "disk_full",
        Failure::Storage => "storage_failed",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_only_reads_is_not_told_of_writes() {
        let stored = Version::default();
        let (few, needed) = (1, 2);
        for failure in [
            Failure::Unavailable {
                stored: few,
                needed,
            },
            Failure::TimedOut,
            Failure::NotMember,
            Failure::Overloaded,
            Failure::Storage,
        ] {
            let said = failure_text(failure, Asked::Read);
            assert!(
                !said.contains("writ") && said.contains("ask again"),
                "{said}"
            );
            let said = failure_text(failure, Asked::Write);
            assert!(
                said.contains("writ") && !said.contains("ask again"),
                "{said}"
            );
        }
        // Others may have stored what the owner has no room for.
        let said = failure_text(Failure::Full, Asked::Write);
        assert!(said.contains("the write may survive"), "{said}");
        let said = failure_text(Failure::Conflict { stored }, Asked::Write);
        assert!(said.contains("nothing was written"), "{said}");
    }
}
