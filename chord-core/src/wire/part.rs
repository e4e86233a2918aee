//! The parts that messages are made of, each written and read side by side.
//!
//! Parts carry no trailing bytes: only a whole message may grow at its end.

use alloc::vec::Vec;

use super::error::{DecodeError, EncodeError};
use super::read::{List, Reader};
use super::write::Writer;
use super::{HEADS_MAX, KEYS_MAX, PEERS_MAX, RECORDS_MAX, SUMS_MAX};
use crate::event::Class;
use crate::id::Span;
use crate::message::{
    Head, Header, KEY_MAX, Key, Mark, OperationId, Record, VALUE_MAX, Verdict, Version,
};
use crate::peer::{Addr, Peer};
use crate::sums::{PartSum, Sum};

const PEERS: List = List::of::<Peer>("peers", PEERS_MAX, 42);
const KEYS: List = List::of::<Key>("keys", KEYS_MAX, 3);
const RECORDS: List = List::of::<Record>("records", RECORDS_MAX, 85);
const HEADS: List = List::of::<Head>("heads", HEADS_MAX, 32);
const NEWER: List = List::of::<(u16, Version)>("newer versions", RECORDS_MAX, 30);
const SUMS: List = List::of::<PartSum>("sums", SUMS_MAX, 18);
const VERDICTS: List = List::of::<Verdict>("verdicts", HEADS_MAX, 1);

/// The class of priority that a number names.
pub(super) fn class_of(number: u8) -> Option<Class> {
    match number {
        0 => Some(Class::Ring),
        1 => Some(Class::Replication),
        2 => Some(Class::Client),
        3 => Some(Class::Repair),
        _ => None,
    }
}

impl Writer<'_> {
    pub(super) fn addr(&mut self, addr: Addr) {
        self.bytes(&addr.ip);
        self.u16(addr.port);
    }

    pub(super) fn peer(&mut self, peer: Peer) -> Result<(), EncodeError> {
        if peer.is_seed() {
            return Err(EncodeError::Value("the id of a peer"));
        }
        let mut bytes = [0; 42];
        bytes[..20].copy_from_slice(&peer.id.0);
        bytes[20..36].copy_from_slice(&peer.addr.ip);
        bytes[36..38].copy_from_slice(&peer.addr.port.to_be_bytes());
        bytes[38..].copy_from_slice(&peer.incarnation.to_be_bytes());
        self.bytes(&bytes);
        Ok(())
    }

    pub(super) fn peers(&mut self, peers: &[Peer]) -> Result<(), EncodeError> {
        self.list(PEERS, peers, |w, &peer| w.peer(peer))
    }

    pub(super) fn span(&mut self, span: Span) {
        self.id(span.after);
        self.id(span.upto);
    }

    pub(super) fn version(&mut self, version: Version) {
        let mut bytes = [0; 28];
        bytes[..8].copy_from_slice(&version.time.to_be_bytes());
        bytes[8..].copy_from_slice(&version.writer.0);
        self.bytes(&bytes);
    }

    pub(super) fn operation(&mut self, operation: OperationId) {
        let mut bytes = [0; 32];
        bytes[..20].copy_from_slice(&operation.gateway.0);
        bytes[20..24].copy_from_slice(&operation.incarnation.to_be_bytes());
        bytes[24..].copy_from_slice(&operation.counter.to_be_bytes());
        self.bytes(&bytes);
    }

    pub(super) fn mark(&mut self, mark: Mark) {
        self.u64(mark.epoch);
        self.u8(mark.rank);
    }

    pub(super) fn key(&mut self, key: &Key) -> Result<(), EncodeError> {
        // No key is longer than KEY_MAX, so that this cannot fail.
        let len = u16::try_from(key.bytes().len()).map_err(|_| EncodeError::Limit("a key"))?;
        self.u16(len);
        self.bytes(key.bytes());
        Ok(())
    }

    pub(super) fn keys(&mut self, keys: &[Key]) -> Result<(), EncodeError> {
        self.list(KEYS, keys, Self::key)
    }

    pub(super) fn value(&mut self, value: &[u8]) -> Result<(), EncodeError> {
        match u32::try_from(value.len()) {
            Ok(len) if value.len() <= VALUE_MAX => {
                self.u32(len);
                self.bytes(value);
                Ok(())
            }
            _ => Err(EncodeError::Limit("a value")),
        }
    }

    pub(super) fn record(&mut self, record: &Record) -> Result<(), EncodeError> {
        let header = &record.header;
        if header.tombstone && !record.value.is_empty() {
            return Err(EncodeError::Value("the value of a tombstone"));
        }
        self.version(header.version);
        self.operation(header.operation);
        self.u8(header.copies);
        self.bool(header.tombstone);
        self.instant(header.expires);
        self.instant(header.shadow);
        self.key(&record.key)?;
        self.value(&record.value)
    }

    pub(super) fn records(&mut self, records: &[Record]) -> Result<(), EncodeError> {
        self.list(RECORDS, records, Self::record)
    }

    fn head(&mut self, head: &Head) -> Result<(), EncodeError> {
        self.version(head.version);
        self.u8(head.copies);
        self.key(&head.key)
    }

    pub(super) fn heads(&mut self, heads: &[Head]) -> Result<(), EncodeError> {
        self.list(HEADS, heads, Self::head)
    }

    pub(super) fn newer(&mut self, newer: &[(u16, Version)]) -> Result<(), EncodeError> {
        self.list(NEWER, newer, |w, &(index, version)| {
            w.u16(index);
            w.version(version);
            Ok(())
        })
    }

    pub(super) fn sums(&mut self, sums: &[PartSum]) -> Result<(), EncodeError> {
        self.list(SUMS, sums, |w, part| {
            w.u8(part.part);
            w.u8(part.copies);
            w.bytes(&part.sum.0.to_be_bytes());
            Ok(())
        })
    }

    pub(super) fn verdicts(&mut self, verdicts: &[Verdict]) -> Result<(), EncodeError> {
        self.list(VERDICTS, verdicts, |w, verdict| {
            w.u8(match verdict {
                Verdict::Keep => 1,
                Verdict::Drop => 2,
                Verdict::Send => 3,
                Verdict::Wait => 4,
            });
            Ok(())
        })
    }
}

impl Reader<'_> {
    pub(super) fn addr(&mut self) -> Result<Addr, DecodeError> {
        Ok(Addr {
            ip: self.array()?,
            port: self.u16()?,
        })
    }

    pub(super) fn peer(&mut self) -> Result<Peer, DecodeError> {
        let peer = Peer {
            id: self.id()?,
            addr: self.addr()?,
            incarnation: self.u32()?,
        };
        if peer.is_seed() {
            return Err(DecodeError::Value("the id of a peer"));
        }
        Ok(peer)
    }

    pub(super) fn peers(&mut self) -> Result<Vec<Peer>, DecodeError> {
        self.list(PEERS, Self::peer)
    }

    pub(super) fn span(&mut self) -> Result<Span, DecodeError> {
        Ok(Span {
            after: self.id()?,
            upto: self.id()?,
        })
    }

    pub(super) fn version(&mut self) -> Result<Version, DecodeError> {
        Ok(Version {
            time: self.u64()?,
            writer: self.id()?,
        })
    }

    pub(super) fn operation(&mut self) -> Result<OperationId, DecodeError> {
        Ok(OperationId {
            gateway: self.id()?,
            incarnation: self.u32()?,
            counter: self.u64()?,
        })
    }

    pub(super) fn mark(&mut self) -> Result<Mark, DecodeError> {
        Ok(Mark {
            epoch: self.u64()?,
            rank: self.u8()?,
        })
    }

    /// A key; its position is computed here, never taken from the peer.
    pub(super) fn key(&mut self) -> Result<Key, DecodeError> {
        let len = usize::from(self.u16()?);
        if len > KEY_MAX {
            return Err(DecodeError::Limit("a key"));
        }
        Key::new(self.bytes(len)?).ok_or(DecodeError::Value("an empty key"))
    }

    pub(super) fn keys(&mut self) -> Result<Vec<Key>, DecodeError> {
        self.list(KEYS, Self::key)
    }

    pub(super) fn value(&mut self) -> Result<bytes::Bytes, DecodeError> {
        match usize::try_from(self.u32()?) {
            Ok(len) if len <= VALUE_MAX => self.bytes(len),
            _ => Err(DecodeError::Limit("a value")),
        }
    }

    pub(super) fn record(&mut self) -> Result<Record, DecodeError> {
        let header = Header {
            version: self.version()?,
            operation: self.operation()?,
            copies: self.u8()?,
            tombstone: self.bool("the tombstone flag")?,
            expires: self.instant("the lifetime of a record")?,
            shadow: self.instant("the shadow of a record")?,
        };
        let key = self.key()?;
        let value = self.value()?;
        if header.tombstone && !value.is_empty() {
            return Err(DecodeError::Value("the value of a tombstone"));
        }
        Ok(Record { key, value, header })
    }

    pub(super) fn records(&mut self) -> Result<Vec<Record>, DecodeError> {
        self.list(RECORDS, Self::record)
    }

    fn head(&mut self) -> Result<Head, DecodeError> {
        let version = self.version()?;
        let copies = self.u8()?;
        Ok(Head {
            key: self.key()?,
            version,
            copies,
        })
    }

    pub(super) fn heads(&mut self) -> Result<Vec<Head>, DecodeError> {
        self.list(HEADS, Self::head)
    }

    pub(super) fn newer(&mut self) -> Result<Vec<(u16, Version)>, DecodeError> {
        self.list(NEWER, |r| Ok((r.u16()?, r.version()?)))
    }

    pub(super) fn sums(&mut self) -> Result<Vec<PartSum>, DecodeError> {
        self.list(SUMS, |r| {
            Ok(PartSum {
                part: r.u8()?,
                copies: r.u8()?,
                sum: Sum(u128::from_be_bytes(r.array()?)),
            })
        })
    }

    pub(super) fn verdicts(&mut self) -> Result<Vec<Verdict>, DecodeError> {
        self.list(VERDICTS, |r| match r.u8()? {
            1 => Ok(Verdict::Keep),
            2 => Ok(Verdict::Drop),
            3 => Ok(Verdict::Send),
            4 => Ok(Verdict::Wait),
            number => Err(DecodeError::Unknown {
                what: "verdict",
                number,
            }),
        })
    }
}
