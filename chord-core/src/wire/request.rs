//! The bodies of requests.

use super::error::{DecodeError, EncodeError};
use super::read::Reader;
use super::write::Writer;
use crate::message::{Head, Record, Request, Write};

// Ring upkeep: 1 to 31.
const PING: u8 = 1;
const ROUTE: u8 = 2;
const NEIGHBOURS: u8 = 3;
const NOTIFY: u8 = 4;
const STABILISE: u8 = 5;
const LEAVE: u8 = 6;
const YIELD: u8 = 7;
const CEDE: u8 = 8;
// Clients' reads and writes, at the owner: 32 to 47.
const PUT: u8 = 32;
const GET: u8 = 33;
// Between holders of one record: 48 to 63.
const REPLICATE: u8 = 48;
const FETCH: u8 = 49;
// Spans: 64 to 95.
const PULL: u8 = 64;
const LIST: u8 = 65;
const MARK: u8 = 66;
const OFFER: u8 = 67;
const DISCARD: u8 = 68;
const SUMS: u8 = 69;

/// What a peer asks.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Asked {
    /// One of the requests of this version.
    Known(Request),
    /// A request of a later version: answer it with
    /// [`Refusal::Unsupported`](crate::message::Refusal::Unsupported). Its body is skipped.
    Unknown {
        /// Its number, never one of those in the table of [`crate::wire`].
        kind: u8,
    },
}

impl Asked {
    /// Bytes that the body takes, to within a few and never fewer.
    pub(super) fn size_hint(&self) -> usize {
        let Self::Known(request) = self else {
            return 1;
        };
        64 + match request {
            Request::Ping
            | Request::Route { .. }
            | Request::Neighbours { .. }
            | Request::Notify
            | Request::Stabilise
            | Request::Leave
            | Request::Yield { .. }
            | Request::Cede { .. }
            | Request::Mark { .. }
            | Request::Sums { .. } => 0,
            Request::Put(write) => {
                64 + write.key.bytes().len() + write.value.as_ref().map_or(0, bytes::Bytes::len)
            }
            Request::Get { key, .. } => key.bytes().len(),
            Request::Replicate { records, .. } => records.iter().map(Record::size).sum(),
            Request::Fetch { keys } => keys.iter().map(|key| 2 + key.bytes().len()).sum(),
            Request::Pull { after, .. } | Request::List { after, .. } => {
                after.as_ref().map_or(0, |key| key.bytes().len())
            }
            Request::Offer { heads, .. } | Request::Discard { heads } => {
                heads.iter().map(Head::size).sum()
            }
        }
    }

    pub(super) fn write(&self, w: &mut Writer<'_>) -> Result<(), EncodeError> {
        match self {
            Self::Known(request) => write_known(w, request),
            Self::Unknown { kind } if is_known(*kind) => Err(EncodeError::Value("a request kind")),
            Self::Unknown { kind } => {
                w.u8(*kind);
                Ok(())
            }
        }
    }

    // Why always: see `read_frame`.
    #[inline(always)]
    pub(super) fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let kind = r.u8()?;
        let request = match kind {
            PING => Request::Ping,
            ROUTE => Request::Route { target: r.id()? },
            NEIGHBOURS => Request::Neighbours { digest: r.u64()? },
            NOTIFY => Request::Notify,
            STABILISE => Request::Stabilise,
            LEAVE => Request::Leave,
            YIELD => Request::Yield { after: r.id()? },
            CEDE => Request::Cede { after: r.id()? },
            PUT => Request::Put(read_write(r)?),
            GET => Request::Get {
                quorum: r.bool("the quorum flag")?,
                key: r.key()?,
            },
            REPLICATE => Request::Replicate {
                fresh: r.bool("the fresh flag")?,
                records: r.records()?,
            },
            FETCH => Request::Fetch { keys: r.keys()? },
            PULL => Request::Pull {
                span: r.span()?,
                bytes_max: r.u32()?,
                after: r.option("the key to resume behind", Reader::key)?,
            },
            LIST => Request::List {
                span: r.span()?,
                bytes_max: r.u32()?,
                after: r.option("the key to resume behind", Reader::key)?,
            },
            MARK => Request::Mark {
                span: r.span()?,
                mark: r.mark()?,
            },
            OFFER => Request::Offer {
                leaving: r.bool("the leaving flag")?,
                heads: r.heads()?,
            },
            DISCARD => Request::Discard { heads: r.heads()? },
            SUMS => Request::Sums { span: r.span()? },
            _ => return Ok(Self::Unknown { kind }),
        };
        Ok(Self::Known(request))
    }
}

fn is_known(kind: u8) -> bool {
    matches!(kind, PING..=CEDE | PUT..=GET | REPLICATE..=FETCH | PULL..=SUMS)
}

fn write_known(w: &mut Writer<'_>, request: &Request) -> Result<(), EncodeError> {
    match request {
        Request::Ping => w.u8(PING),
        Request::Route { target } => {
            w.u8(ROUTE);
            w.id(*target);
        }
        Request::Neighbours { digest } => {
            w.u8(NEIGHBOURS);
            w.u64(*digest);
        }
        Request::Notify => w.u8(NOTIFY),
        Request::Stabilise => w.u8(STABILISE),
        Request::Leave => w.u8(LEAVE),
        Request::Yield { after } => {
            w.u8(YIELD);
            w.id(*after);
        }
        Request::Cede { after } => {
            w.u8(CEDE);
            w.id(*after);
        }
        Request::Put(write) => {
            w.u8(PUT);
            return write_write(w, write);
        }
        Request::Get { key, quorum } => {
            w.u8(GET);
            w.bool(*quorum);
            return w.key(key);
        }
        Request::Replicate { records, fresh } => {
            w.u8(REPLICATE);
            w.bool(*fresh);
            return w.records(records);
        }
        Request::Fetch { keys } => {
            w.u8(FETCH);
            return w.keys(keys);
        }
        Request::Pull {
            span,
            after,
            bytes_max,
        } => {
            w.u8(PULL);
            w.span(*span);
            w.u32(*bytes_max);
            return w.option(after.as_ref(), Writer::key);
        }
        Request::List {
            span,
            after,
            bytes_max,
        } => {
            w.u8(LIST);
            w.span(*span);
            w.u32(*bytes_max);
            return w.option(after.as_ref(), Writer::key);
        }
        Request::Mark { span, mark } => {
            w.u8(MARK);
            w.span(*span);
            w.mark(*mark);
        }
        Request::Offer { heads, leaving } => {
            w.u8(OFFER);
            w.bool(*leaving);
            return w.heads(heads);
        }
        Request::Discard { heads } => {
            w.u8(DISCARD);
            return w.heads(heads);
        }
        Request::Sums { span } => {
            w.u8(SUMS);
            w.span(*span);
        }
    }
    Ok(())
}

fn write_write(w: &mut Writer<'_>, write: &Write) -> Result<(), EncodeError> {
    w.operation(write.operation);
    w.micros(write.ttl);
    w.u8(write.copies);
    w.option(write.expected, |w, version| {
        w.version(version);
        Ok(())
    })?;
    w.key(&write.key)?;
    w.option(write.value.as_ref(), |w, value| w.value(value))
}

fn read_write(r: &mut Reader<'_>) -> Result<Write, DecodeError> {
    Ok(Write {
        operation: r.operation()?,
        ttl: r.micros()?,
        copies: r.u8()?,
        expected: r.option("the expected version", Reader::version)?,
        key: r.key()?,
        value: r.option("the value of a write", Reader::value)?,
    })
}
