//! Names of seeds become addresses, again and again until the host is a member.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use chord_core::peer::Addr;
use tokio::sync::{mpsc, watch};

use crate::driver::Ask;
use crate::driver::board::Board;
use crate::endpoint::Failures;

/// Wait before names are resolved again; doubled each time.
const WAIT_MIN: Duration = Duration::from_secs(1);
/// Longest such wait.
const WAIT_MAX: Duration = Duration::from_secs(30);

/// Tells the nodes to join whenever they are no members, with freshly resolved addresses.
/// Ends with the host.
pub(super) async fn join(
    names: Vec<String>,
    asks: mpsc::WeakSender<Ask>,
    board: Arc<Board>,
    failures: Arc<Failures>,
) {
    let mut joined = board.watch_joined();
    loop {
        enter(&names, &asks, &mut joined, &failures).await;
        // A member that was cut off must look for its seeds again.
        if joined.wait_for(|joined| !joined).await.is_err() {
            return;
        }
    }
}

async fn enter(
    names: &[String],
    asks: &mpsc::WeakSender<Ask>,
    joined: &mut watch::Receiver<bool>,
    failures: &Failures,
) {
    let mut wait = WAIT_MIN;
    loop {
        let seeds = resolve(names).await;
        // Unresolvable names are no licence to found a ring of one's own.
        if names.is_empty() || !seeds.is_empty() {
            let Some(asks) = asks.upgrade() else { return };
            if asks
                .send(Ask::Join {
                    seeds: seeds.clone(),
                })
                .await
                .is_err()
            {
                return;
            }
        }
        let member = joined.wait_for(|joined| *joined);
        match tokio::time::timeout(wait, member).await {
            Ok(_) => return,
            Err(_) if names.is_empty() => {}
            Err(_) => {
                let last = failures.worst_of(&seeds);
                tracing::warn!(
                    seeds = names.join(", "),
                    "no member of the ring yet: trying the seeds again; last: {}",
                    last.as_deref().unwrap_or("no answer so far")
                );
            }
        }
        wait = (wait * 2).min(WAIT_MAX);
    }
}

async fn resolve(names: &[String]) -> Vec<Addr> {
    let mut seeds = BTreeSet::new();
    for name in names {
        match tokio::net::lookup_host(name.as_str()).await {
            Ok(found) => seeds.extend(found.map(Addr::from_socket)),
            Err(error) => tracing::warn!(seed = %name, %error, "cannot resolve a seed's name"),
        }
    }
    seeds.into_iter().collect()
}
