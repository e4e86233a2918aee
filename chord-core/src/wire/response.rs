//! The bodies of responses, and what a refusal says.

use super::error::{DecodeError, EncodeError};
use super::read::Reader;
use super::write::Writer;
use crate::message::{Head, Record, Refusal, Response, Route};

// An answer has the number of its question where there is one question for it.
const DONE: u8 = 1;
const ROUTE: u8 = 2;
const NEIGHBOURS: u8 = 3;
const NOTIFIED: u8 = 4;
const WRITTEN: u8 = 32;
const GOT: u8 = 33;
const REPLICATED: u8 = 48;
const FETCHED: u8 = 49;
const PAGE: u8 = 64;
const HEADS: u8 = 65;
const OFFERED: u8 = 67;
const SUMS: u8 = 69;
const REFUSED: u8 = 128;

const ROUTE_OWNER: u8 = 1;
const ROUTE_SUCCESSORS: u8 = 2;
const ROUTE_CLOSER: u8 = 3;

// Where to go instead: 1 to 15.
const NOT_MEMBER: u8 = 1;
const NOT_OWNER: u8 = 2;
const LEAVING: u8 = 3;
// Not now: 16 to 31.
const SETTLING: u8 = 16;
const UNAVAILABLE: u8 = 17;
const OVERLOADED: u8 = 18;
// Not this: 32 to 47.
const CLOCK_SKEW: u8 = 32;
const CONFLICT: u8 = 33;
const UNSUPPORTED: u8 = 34;
const INVALID: u8 = 35;
// Disks: 48 to 63.
const FULL: u8 = 48;
const STORAGE: u8 = 49;

const PEER_SIZE: usize = 44;
const NEWER_SIZE: usize = 30;
const SUM_SIZE: usize = 18;

/// Bytes that the body takes, to within a few and never fewer.
pub(super) fn size_hint(response: &Response) -> usize {
    64 + match response {
        Response::Done
        | Response::Notified { .. }
        | Response::Written { .. }
        | Response::Refused(_)
        | Response::Route(Route::Owner { .. }) => 0,
        Response::Route(Route::Successors(peers) | Route::Closer(peers)) => PEER_SIZE * peers.len(),
        Response::Neighbours { successors, .. } => {
            PEER_SIZE * (1 + successors.as_ref().map_or(0, alloc::vec::Vec::len))
        }
        Response::Got { record } => record.as_ref().map_or(0, Record::size),
        Response::Replicated { newer } => NEWER_SIZE * newer.len(),
        Response::Fetched { records, .. } | Response::Page { records, .. } => {
            records.iter().map(Record::size).sum()
        }
        Response::Heads { heads, .. } => heads.iter().map(Head::size).sum(),
        Response::Offered { verdicts } => verdicts.len(),
        Response::Sums { sums, .. } => SUM_SIZE * sums.len(),
    }
}

pub(super) fn write(w: &mut Writer<'_>, response: &Response) -> Result<(), EncodeError> {
    match response {
        Response::Done => w.u8(DONE),
        Response::Route(route) => {
            w.u8(ROUTE);
            return write_route(w, route);
        }
        Response::Neighbours {
            me,
            predecessor,
            successors,
            wall,
        } => {
            w.u8(NEIGHBOURS);
            w.peer(*me)?;
            w.option(*predecessor, Writer::peer)?;
            w.option(successors.as_ref(), |w, peers| w.peers(peers))?;
            if let Some(wall) = wall {
                w.u64(*wall);
            }
        }
        Response::Notified {
            predecessor,
            granted,
        } => {
            w.u8(NOTIFIED);
            w.option(*predecessor, Writer::peer)?;
            return w.option(*granted, Writer::peer);
        }
        Response::Written { version } => {
            w.u8(WRITTEN);
            w.version(*version);
        }
        Response::Got { record } => {
            w.u8(GOT);
            return w.option(record.as_ref(), Writer::record);
        }
        Response::Replicated { newer } => {
            w.u8(REPLICATED);
            return w.newer(newer);
        }
        Response::Fetched { records, mark } => {
            w.u8(FETCHED);
            w.option(*mark, |w, mark| {
                w.mark(mark);
                Ok(())
            })?;
            return w.records(records);
        }
        Response::Page { records, more } => {
            w.u8(PAGE);
            w.bool(*more);
            return w.records(records);
        }
        Response::Heads { heads, more, mark } => {
            w.u8(HEADS);
            w.bool(*more);
            w.option(*mark, |w, mark| {
                w.mark(mark);
                Ok(())
            })?;
            return w.heads(heads);
        }
        Response::Sums { sums, mark } => {
            w.u8(SUMS);
            w.option(*mark, |w, mark| {
                w.mark(mark);
                Ok(())
            })?;
            return w.sums(sums);
        }
        Response::Offered { verdicts } => {
            w.u8(OFFERED);
            return w.verdicts(verdicts);
        }
        Response::Refused(refusal) => {
            w.u8(REFUSED);
            return write_refusal(w, refusal);
        }
    }
    Ok(())
}

// Why always: see `read_frame`.
#[inline(always)]
pub(super) fn read(r: &mut Reader<'_>) -> Result<Response, DecodeError> {
    Ok(match r.u8()? {
        DONE => Response::Done,
        ROUTE => Response::Route(read_route(r)?),
        NEIGHBOURS => Response::Neighbours {
            me: r.peer()?,
            predecessor: r.option("the predecessor", Reader::peer)?,
            successors: r.option("the successor list", Reader::peers)?,
            // A build before it appended this ends here.
            wall: match r.left() >= size_of::<u64>() {
                true => Some(r.u64()?),
                false => None,
            },
        },
        NOTIFIED => Response::Notified {
            predecessor: r.option("the predecessor", Reader::peer)?,
            granted: r.option("the grant", Reader::peer)?,
        },
        WRITTEN => Response::Written {
            version: r.version()?,
        },
        GOT => Response::Got {
            record: r.option("the record", Reader::record)?,
        },
        REPLICATED => Response::Replicated { newer: r.newer()? },
        FETCHED => Response::Fetched {
            mark: r.option("the mark", Reader::mark)?,
            records: r.records()?,
        },
        PAGE => Response::Page {
            more: r.bool("the more flag")?,
            records: r.records()?,
        },
        HEADS => Response::Heads {
            more: r.bool("the more flag")?,
            mark: r.option("the mark", Reader::mark)?,
            heads: r.heads()?,
        },
        SUMS => Response::Sums {
            mark: r.option("the mark", Reader::mark)?,
            sums: r.sums()?,
        },
        OFFERED => Response::Offered {
            verdicts: r.verdicts()?,
        },
        REFUSED => Response::Refused(read_refusal(r)?),
        number => {
            return Err(DecodeError::Unknown {
                what: "response",
                number,
            });
        }
    })
}

fn write_route(w: &mut Writer<'_>, route: &Route) -> Result<(), EncodeError> {
    match route {
        Route::Owner { settled } => {
            w.u8(ROUTE_OWNER);
            w.bool(*settled);
            Ok(())
        }
        Route::Successors(peers) => {
            w.u8(ROUTE_SUCCESSORS);
            w.peers(peers)
        }
        Route::Closer(peers) => {
            w.u8(ROUTE_CLOSER);
            w.peers(peers)
        }
    }
}

fn read_route(r: &mut Reader<'_>) -> Result<Route, DecodeError> {
    Ok(match r.u8()? {
        ROUTE_OWNER => Route::Owner {
            settled: r.bool("the settled flag")?,
        },
        ROUTE_SUCCESSORS => Route::Successors(r.peers()?),
        ROUTE_CLOSER => Route::Closer(r.peers()?),
        number => {
            return Err(DecodeError::Unknown {
                what: "route",
                number,
            });
        }
    })
}

fn write_refusal(w: &mut Writer<'_>, refusal: &Refusal) -> Result<(), EncodeError> {
    match refusal {
        Refusal::NotMember { incarnation } => {
            w.u8(NOT_MEMBER);
            w.u32(*incarnation);
        }
        Refusal::NotOwner { hint } => {
            w.u8(NOT_OWNER);
            return w.option(*hint, Writer::peer);
        }
        Refusal::Settling => w.u8(SETTLING),
        Refusal::Unavailable { stored, needed } => {
            w.u8(UNAVAILABLE);
            w.u8(*stored);
            w.u8(*needed);
        }
        Refusal::Overloaded { retry_after_ms } => {
            w.u8(OVERLOADED);
            w.u32(*retry_after_ms);
        }
        Refusal::ClockSkew => w.u8(CLOCK_SKEW),
        Refusal::Conflict { stored } => {
            w.u8(CONFLICT);
            w.version(*stored);
        }
        Refusal::Full => w.u8(FULL),
        Refusal::Storage => w.u8(STORAGE),
        Refusal::Leaving => w.u8(LEAVING),
        Refusal::Unsupported => w.u8(UNSUPPORTED),
        Refusal::Invalid => w.u8(INVALID),
    }
    Ok(())
}

fn read_refusal(r: &mut Reader<'_>) -> Result<Refusal, DecodeError> {
    Ok(match r.u8()? {
        NOT_MEMBER => Refusal::NotMember {
            incarnation: r.u32()?,
        },
        NOT_OWNER => Refusal::NotOwner {
            hint: r.option("the hint", Reader::peer)?,
        },
        LEAVING => Refusal::Leaving,
        SETTLING => Refusal::Settling,
        UNAVAILABLE => Refusal::Unavailable {
            stored: r.u8()?,
            needed: r.u8()?,
        },
        OVERLOADED => Refusal::Overloaded {
            retry_after_ms: r.u32()?,
        },
        CLOCK_SKEW => Refusal::ClockSkew,
        CONFLICT => Refusal::Conflict {
            stored: r.version()?,
        },
        UNSUPPORTED => Refusal::Unsupported,
        INVALID => Refusal::Invalid,
        FULL => Refusal::Full,
        STORAGE => Refusal::Storage,
        number => {
            return Err(DecodeError::Unknown {
                what: "refusal",
                number,
            });
        }
    })
}
