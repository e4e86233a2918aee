//! The calls of the Chord service.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::pin::Pin;

use bytes::Bytes;
use chord_core::event::View;
use chord_core::id::Id;
use chord_core::message::{KEY_MAX, Key, Record, VALUE_MAX};
use chord_core::peer::Peer;
use chord_core::time::Micros;
use chord_net_quic::PutOptions;
use prost::Message;
use tokio::sync::{Semaphore, SemaphorePermit};
use tonic::codegen::tokio_stream::Stream;
use tonic::{Request, Response, Status};

use super::answer::Truncated;
use super::memory::Share;
use super::proto::chord_server::Chord;
use super::proto::{
    AddressMsg, Empty, FingerEntryDebugMsg, FingerEntryMsg, GetKvStoreDataResponse,
    GetKvStoreSizeResponse, GetRequest, GetResponse, GetStatus, HashPosMsg, KvPairDebugMsg,
    KvPairMsg, NodeSummaryMsg, PutRequest, UpdateFingerTableEntryRequest,
};
use super::ring::{self, Services};
use super::status;
use crate::dht::Dht;
use crate::tcp::Limits;

/// Longest answer with records, in bytes: what a client takes unless told otherwise.
const DATA_MAX: usize = 4 << 20;
/// Bytes of a field's tag and length, at most.
const FIELD_HEAD: usize = 6;
/// Summaries at one time, over all connections: each looks up a table of fingers.
const SUMMARIES_MAX: usize = 4;

/// Answers from a live node.
#[derive(Debug)]
pub(super) struct Service<D> {
    dht: D,
    limits: Limits,
    own: SocketAddr,
    summaries: Semaphore,
}

impl<D: Dht> Service<D> {
    /// A service that listens on `own`.
    pub(super) fn new(dht: D, limits: Limits, own: SocketAddr) -> Self {
        Self {
            dht,
            limits,
            own,
            summaries: Semaphore::new(SUMMARIES_MAX),
        }
    }

    async fn view(&self) -> Result<View, Status> {
        self.dht.view(None).await.map_err(status::of)
    }

    /// Where this service is for others: by the address that members dial if it listens on
    /// every address of the host.
    fn services(&self, me: Peer) -> Services<'_, D> {
        let mut own = self.own;
        if let Some(dialled) = me.addr.to_socket().filter(|_| own.ip().is_unspecified()) {
            own.set_ip(dialled.ip());
        }
        Services::new(&self.dht, me, own.to_string())
    }

    async fn address(&self, me: Peer, member: Peer) -> Result<AddressMsg, Status> {
        let address = self.services(me).of(member).await.map_err(status::of)?;
        Ok(AddressMsg { address })
    }

    async fn entry(
        services: &mut Services<'_, D>,
        member: Peer,
    ) -> Result<FingerEntryDebugMsg, Status> {
        Ok(FingerEntryDebugMsg {
            id: member.id.to_string(),
            address: services.of(member).await.map_err(status::of)?,
        })
    }

    fn summary_permit(&self) -> Result<SemaphorePermit<'_>, Status> {
        let permit = self.summaries.try_acquire();
        permit.map_err(|_| Status::resource_exhausted("other summaries are under way"))
    }
}

#[tonic::async_trait]
impl<D: Dht> Chord for Service<D> {
    async fn find_successor(
        &self,
        request: Request<HashPosMsg>,
    ) -> Result<Response<AddressMsg>, Status> {
        let position = position(&request.get_ref().key)?;
        let found = self.dht.lookup(position).await.map_err(status::of)?;
        let me = self.view().await?.me;
        Ok(Response::new(self.address(me, found.owner).await?))
    }

    async fn find_predecessor(
        &self,
        request: Request<HashPosMsg>,
    ) -> Result<Response<AddressMsg>, Status> {
        let position = position(&request.get_ref().key)?;
        let found = ring::predecessor_of(&self.dht, position).await;
        let found = found.map_err(status::of)?;
        let me = self.view().await?.me;
        Ok(Response::new(self.address(me, found).await?))
    }

    async fn get_predecessor(&self, _: Request<Empty>) -> Result<Response<AddressMsg>, Status> {
        let view = self.view().await?;
        let address = match view.predecessor {
            Some(predecessor) => self.address(view.me, predecessor).await?,
            None => AddressMsg::default(),
        };
        Ok(Response::new(address))
    }

    type SetPredecessorStream = Pin<Box<dyn Stream<Item = Result<KvPairMsg, Status>> + Send>>;

    async fn set_predecessor(
        &self,
        _: Request<AddressMsg>,
    ) -> Result<Response<Self::SetPredecessorStream>, Status> {
        Err(not_from_outside())
    }

    async fn get_direct_successor(
        &self,
        _: Request<Empty>,
    ) -> Result<Response<AddressMsg>, Status> {
        let view = self.view().await?;
        let successor = ring::successor(&view);
        Ok(Response::new(self.address(view.me, successor).await?))
    }

    async fn update_finger_table_entry(
        &self,
        _: Request<UpdateFingerTableEntryRequest>,
    ) -> Result<Response<Empty>, Status> {
        Err(not_from_outside())
    }

    async fn find_closest_preceding_finger(
        &self,
        request: Request<HashPosMsg>,
    ) -> Result<Response<FingerEntryMsg>, Status> {
        let position = position(&request.get_ref().key)?;
        let closest = ring::closest_preceding(&self.dht, position).await;
        let closest = closest.map_err(status::of)?;
        let me = self.view().await?.me;
        Ok(Response::new(FingerEntryMsg {
            id: Bytes::copy_from_slice(&closest.id.0),
            address: self.address(me, closest).await?.address,
        }))
    }

    async fn get_node_summary(
        &self,
        _: Request<Empty>,
    ) -> Result<Response<NodeSummaryMsg>, Status> {
        let _permit = self.summary_permit()?;
        let view = self.view().await?;
        let fingers = ring::fingers(&self.dht, view.me.id).await;
        let fingers = fingers.map_err(status::of)?;
        let mut services = self.services(view.me);
        let predecessor = match view.predecessor {
            Some(predecessor) => Some(Self::entry(&mut services, predecessor).await?),
            None => None,
        };
        let mut entries = Vec::with_capacity(fingers.len());
        for finger in fingers {
            entries.push(Self::entry(&mut services, finger).await?);
        }
        Ok(Response::new(NodeSummaryMsg {
            url: services.of(view.me).await.map_err(status::of)?,
            pos: view.me.id.to_string(),
            predecessor,
            finger_entries: entries,
        }))
    }

    async fn get_kv_store_size(
        &self,
        _: Request<Empty>,
    ) -> Result<Response<GetKvStoreSizeResponse>, Status> {
        let records = self.dht.status().await.map_err(status::of)?.records;
        let size = u32::try_from(records).unwrap_or(u32::MAX);
        Ok(Response::new(GetKvStoreSizeResponse { size }))
    }

    async fn get_kv_store_data(
        &self,
        request: Request<Empty>,
    ) -> Result<Response<GetKvStoreDataResponse>, Status> {
        // The records and, for a moment, their texts.
        share(&request).take(2 * DATA_MAX)?;
        let held = self.dht.held(DATA_MAX).await.map_err(status::of)?;
        let (kv_pairs, whole) = pairs(&held.records);
        let mut response = Response::new(GetKvStoreDataResponse { kv_pairs });
        if held.more || !whole {
            response.extensions_mut().insert(Truncated);
        }
        Ok(response)
    }

    async fn get(&self, request: Request<GetRequest>) -> Result<Response<GetResponse>, Status> {
        let share = share(&request);
        let key = key(request.into_inner().key)?;
        let record = self.dht.get(key, false).await.map_err(status::of)?;
        let Some(record) = record else {
            return Ok(Response::new(GetResponse {
                value: String::new(),
                status: GetStatus::NotFound.into(),
            }));
        };
        share.take(record.value.len())?;
        let value = String::from_utf8(record.value.to_vec()).map_err(|_| {
            Status::failed_precondition(
                "the value is not UTF-8; the HTTP and TCP ports send it as it is",
            )
        })?;
        Ok(Response::new(GetResponse {
            value,
            status: GetStatus::Ok.into(),
        }))
    }

    async fn put(&self, request: Request<PutRequest>) -> Result<Response<Empty>, Status> {
        let PutRequest {
            key: name,
            ttl,
            replication,
            value,
        } = request.into_inner();
        let key = key(name)?;
        if value.len() > VALUE_MAX {
            let long = format!("a value has at most {VALUE_MAX} bytes");
            return Err(Status::out_of_range(long));
        }
        let copies = u8::try_from(replication).unwrap_or(u8::MAX);
        let options = PutOptions {
            ttl: Micros::from_secs(ttl).min(self.limits.ttl_max),
            copies: copies.min(self.limits.copies_max),
            expected: None,
        };
        let stored = self.dht.put(key, Bytes::from(value), options).await;
        stored.map_err(status::of_write)?;
        Ok(Response::new(Empty {}))
    }
}

/// What the call may hold of the memory.
fn share<T>(request: &Request<T>) -> Share {
    let share = request.extensions().get::<Share>();
    share.expect("every call is given its share").clone()
}

fn not_from_outside() -> Status {
    Status::unimplemented(
        "this version takes no hints about its ring: members find each other by their \
         certificates",
    )
}

fn position(bytes: &[u8]) -> Result<Id, Status> {
    let bytes = bytes.try_into().map_err(|_| {
        Status::invalid_argument(format!(
            "a position has 20 bytes, this one has {}",
            bytes.len()
        ))
    });
    bytes.map(Id)
}

fn key(bytes: Bytes) -> Result<Key, Status> {
    let length = bytes.len();
    // The request's buffer must not live as long as the key.
    Key::new(Bytes::copy_from_slice(&bytes)).ok_or_else(|| {
        Status::invalid_argument(format!(
            "a key has 1 to {KEY_MAX} bytes, this one has {length}"
        ))
    })
}

/// As many records as fit the answer, and whether these are all.
fn pairs(records: &[Record]) -> (Vec<KvPairDebugMsg>, bool) {
    let mut pairs = Vec::new();
    let mut left = DATA_MAX;
    for record in records {
        let pair = KvPairDebugMsg {
            key: text(record.key.bytes()),
            value: text(&record.value),
        };
        match left.checked_sub(pair.encoded_len() + FIELD_HEAD) {
            Some(rest) => left = rest,
            None => return (pairs, false),
        }
        pairs.push(pair);
    }
    (pairs, true)
}

/// Bytes for people: as they are if they can be printed, else `0x` and digits.
fn text(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.contains(char::is_control) => text.to_owned(),
        Ok(_) | Err(_) => {
            let mut digits = String::with_capacity(2 + 2 * bytes.len());
            digits.push_str("0x");
            for byte in bytes {
                write!(digits, "{byte:02x}").expect("writing to a string cannot fail");
            }
            digits
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_printed_is_shown_in_digits() {
        assert_eq!(text("größe".as_bytes()), "größe");
        assert_eq!(text(b""), "");
        assert_eq!(text(b"a\nb"), "0x610a62");
        assert_eq!(text(&[0xff, 0]), "0xff00");
    }
}
