//! `/v1/lookup/{key}` and `/v1/ring`: where things are.
//!
//! ```text
//! client ── ring?scope=all ──▶ node ── view ──▶ itself
//!                                   ── view ──▶ everybody it names … and whom those name
//! client ◀─ members, unreachable ── node
//! ```

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use axum::extract::State;
use axum::http::Uri;
use axum::response::Response;
use chord_core::event::{State as NodeState, View};
use chord_core::id::Id;
use chord_core::peer::Peer;
use chord_net_quic::HostStatus;
use serde::Deserialize;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use super::Shared;
use super::key::{self, Encoding};
use super::problem::{Problem, json};
use crate::dht::Dht;
use crate::documents::{HopDocument, LookupDocument, MemberDocument, PeerDocument, RingDocument};

/// Members a walk visits at most.
const MEMBERS_MAX: usize = 10_000;
/// Time for a walk.
const WALK_TIME: Duration = Duration::from_secs(10);
/// Members asked at one time.
const ASKED_MAX: usize = 16;

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct LookupQuery {
    trace: bool,
    encoding: Encoding,
}

/// The owner of a key, and the way to it.
pub(super) async fn lookup<D: Dht>(
    State(shared): State<Shared<D>>,
    uri: Uri,
) -> Result<Response, Problem> {
    let query: LookupQuery = key::query(&uri)?;
    let key = key::key(&uri, query.encoding)?;
    let found = shared.dht.lookup(key.position()).await?;
    Ok(json(&LookupDocument {
        position: key.position().to_string(),
        owner: found.owner.into(),
        hops: query
            .trace
            .then(|| found.hops.iter().map(HopDocument::from).collect()),
    }))
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Scope {
    /// What this node believes.
    #[serde(rename = "self")]
    Own,
    /// What everybody believes.
    #[default]
    All,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RingQuery {
    scope: Scope,
}

/// What members believe of the ring.
pub(super) async fn ring<D: Dht>(
    State(shared): State<Shared<D>>,
    uri: Uri,
) -> Result<Response, Problem> {
    let query: RingQuery = key::query(&uri)?;
    if matches!(query.scope, Scope::All) {
        refuse_outsiders(&shared.dht.status().await?)?;
    }
    let own = shared.dht.view(None).await?;
    let document = match query.scope {
        Scope::Own => RingDocument {
            members: vec![MemberDocument::from(&own)],
            unreachable: Vec::new(),
            truncated: false,
        },
        Scope::All => {
            let _permit = shared
                .walks
                .try_acquire()
                .map_err(|_| Problem::overloaded("other walks of the ring are under way"))?;
            Walk::default()
                .run(&shared.dht, &own, Instant::now() + WALK_TIME)
                .await
        }
    };
    Ok(json(&document))
}

/// Who is no member sees no ring: what it sees, itself alone, must not be taken for one.
fn refuse_outsiders(status: &HostStatus) -> Result<(), Problem> {
    let why = match status.node.state {
        NodeState::Joining => "it has not joined yet",
        NodeState::Lost => "it is cut off from every other member and joins again",
        NodeState::Left => "it has left",
        NodeState::Joined | NodeState::Leaving => match status.duplicate {
            Some(other) if other.refused => {
                "the members refuse it, because another process with its certificate started later"
            }
            Some(_) | None => return Ok(()),
        },
    };
    Err(Problem::not_member(format!(
        "this node is no member of the ring: {why}; see `dht-cli status`, or ask a member"
    )))
}

/// A walk over everybody that somebody names.
#[derive(Default)]
struct Walk {
    members: BTreeMap<Id, MemberDocument>,
    silent: BTreeMap<Id, PeerDocument>,
    /// Asked or about to be; a peer in a later life is asked again.
    named: BTreeSet<(Id, u32)>,
    ahead: VecDeque<Peer>,
}

impl Walk {
    async fn run<D: Dht>(mut self, dht: &D, own: &View, by: Instant) -> RingDocument {
        self.visit(own);
        let mut asked: JoinSet<(Peer, Option<View>)> = JoinSet::new();
        let mut truncated = false;
        loop {
            while asked.len() < ASKED_MAX && self.members.len() + asked.len() < MEMBERS_MAX {
                let Some(peer) = self.ahead.pop_front() else {
                    break;
                };
                let dht = dht.clone();
                asked.spawn(async move { (peer, dht.view(Some(peer)).await.ok()) });
            }
            match timeout_at(by, asked.join_next()).await {
                Ok(Some(Ok((_, Some(view))))) => self.visit(&view),
                Ok(Some(Ok((peer, None)))) => drop(self.silent.insert(peer.id, peer.into())),
                Ok(Some(Err(error))) => std::panic::resume_unwind(error.into_panic()),
                Ok(None) => break,
                Err(_) => {
                    truncated = true;
                    break;
                }
            }
        }
        truncated |= !self.ahead.is_empty();
        self.silent.retain(|id, _| !self.members.contains_key(id));
        RingDocument {
            members: self.members.into_values().collect(),
            unreachable: self.silent.into_values().collect(),
            truncated,
        }
    }

    fn visit(&mut self, view: &View) {
        self.named.insert((view.me.id, view.me.incarnation));
        self.members.insert(view.me.id, MemberDocument::from(view));
        for &peer in view.successors.iter().chain(&view.predecessor) {
            if self.named.insert((peer.id, peer.incarnation)) {
                self.ahead.push_back(peer);
            }
        }
    }
}
