//! The rules of connections, without a single socket.

use chord_core::event::{CallError, Class, Lost, OpId, Terms};
use chord_core::message::{Record, Refusal, Request, Response};
use chord_core::wire::{self, Asked, Frame, RequestFrame, ResponseFrame};
use tokio_util::codec::Decoder;

use super::*;
use crate::frames;

mod bulk;
mod calls;
mod doubles;
mod ends;
mod lives;
mod requests;
mod room;

const NOW: Instant = Instant(1_000_000);

fn host(name: &str) -> Id {
    Id::hash(name.as_bytes())
}

/// Two hosts, the one with the smaller id first.
fn small_and_great() -> (Id, Id) {
    let (a, b) = (host("a"), host("b"));
    (a.min(b), a.max(b))
}

fn addr(port: u16) -> Addr {
    Addr::v4(127, 0, 0, 1, port)
}

fn peers(host: Id) -> Peers {
    let positions = vec![host, host.of_position(1)];
    Peers::new(
        Local {
            host,
            incarnation: 7,
            addr: addr(1),
            positions,
        },
        NOW,
    )
}

fn who(host: Id, incarnation: u32) -> Introduced {
    Introduced {
        host,
        incarnation,
        addr: addr(2),
        positions: 2,
        service: None,
    }
}

fn peer(host: Id, incarnation: u32) -> Peer {
    Peer {
        id: host,
        addr: addr(2),
        incarnation,
    }
}

fn call(op: u64, to: Peer) -> Call {
    let deadline = NOW + Micros::from_secs(5);
    let terms = Terms {
        deadline,
        class: Class::Client,
        trace: 0,
    };
    Call {
        position: 0,
        op: OpId(op),
        to,
        terms,
        request: Request::Ping,
        stage: Stage::Fresh,
    }
}

fn effects(peers: &mut Peers) -> Vec<Effect> {
    peers.flush();
    peers.effects.drain(..).collect()
}

/// The frames written to the frame stream of a link.
fn frames(effects: Vec<Effect>, on: LinkId) -> Vec<Frame> {
    let mut written = bytes::BytesMut::new();
    for effect in effects {
        match effect {
            Effect::Write { link, bytes } if link == on => written.extend_from_slice(&bytes),
            other => panic!("{other:?}"),
        }
    }
    let mut codec = frames::codec(frames::STREAM_FRAME_MAX);
    std::iter::from_fn(|| codec.decode(&mut written).expect("well-formed"))
        .map(|bytes| wire::decode(bytes.freeze(), NOW).expect("a frame"))
        .collect()
}

fn request_id(frame: &Frame) -> u32 {
    match frame {
        Frame::Request(frame) => frame.id,
        other => panic!("{other:?}"),
    }
}

fn done(id: u32) -> Frame {
    Frame::Response(ResponseFrame {
        id,
        incarnation: 1,
        response: Response::Done,
    })
}

fn request(id: u32, to: Id, position: u16, request: Asked) -> Frame {
    let remaining = Micros::from_secs(1);
    let (class, trace) = (Class::Client, 0);
    Frame::Request(RequestFrame {
        id,
        to,
        position,
        incarnation: 1,
        remaining,
        class,
        trace,
        request,
    })
}

/// A link to `host` in life 1, dialled by us.
fn linked(peers: &mut Peers, host: Id) -> LinkId {
    let link = LinkId(1);
    peers.linked(link, Some(addr(2)), &who(host, 1), NOW);
    assert!(effects(peers).is_empty());
    link
}
