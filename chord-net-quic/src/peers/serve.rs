//! Frames of other hosts, and our answers to them.

use bytes::Bytes;
use chord_core::event::Terms;
use chord_core::id::Id;
use chord_core::message::{Refusal, Response};
use chord_core::time::Instant;
use chord_core::wire::{Asked, Frame, RequestFrame, ResponseFrame};
use tokio::sync::oneshot;

use crate::counters;
use crate::frames;
use crate::peers::link::Bulky;
use crate::peers::{CALLS_MAX, Call, Code, Effect, LinkId, Peers, Way};

/// When a peer with too many requests in flight should come back.
const RETRY_AFTER_MS: u32 = 100;

impl Peers {
    /// A frame came in: over the frame stream, or over a stream of its own on which the
    /// answer to a request is awaited.
    pub(crate) fn heard(
        &mut self,
        id: LinkId,
        frame: Frame,
        bulk: Option<oneshot::Sender<Bytes>>,
        now: Instant,
    ) {
        let Some(link) = self.links.get_mut(&id) else {
            return;
        };
        link.used = now;
        let host = link.host;
        match frame {
            Frame::Request(frame) => self.requested(
                Way {
                    link: id,
                    host,
                    id: frame.id,
                    bulk,
                },
                frame,
                now,
            ),
            Frame::Response(frame) => self.answered(id, frame),
            Frame::Hello(_) => self.violated(id, "a second hello", now),
        }
    }

    /// The other end broke the protocol: no frame of it is handled any more.
    pub(crate) fn violated(&mut self, id: LinkId, what: &str, now: Instant) {
        let Some(link) = self.links.get(&id) else {
            return;
        };
        let leave = self.lines.ask(now);
        if leave.granted {
            let host = link.host;
            let unsaid = leave.kept_back;
            tracing::warn!(%host, what, unsaid, "a peer broke the protocol: connection closed");
        }
        self.counters.violations += 1;
        self.close(id, Code::Violation, now);
    }

    fn requested(&mut self, way: Way, frame: RequestFrame, now: Instant) {
        let Some(link) = self.links.get_mut(&way.link) else {
            return;
        };
        let Some(from) = link.peer(frame.position) else {
            return self.violated(way.link, "a request from a position it does not have", now);
        };
        if frame.incarnation != link.incarnation {
            return self.violated(way.link, "a request of another life than its hello", now);
        }
        link.serving += 1;
        // By host: who closes its connection leaves its requests behind.
        let full = self.hosts.begin_serving(way.host) > CALLS_MAX;
        let request = match frame.request {
            Asked::Known(request) => request,
            Asked::Unknown { .. } => return self.refuse(way, Refusal::Unsupported, now),
        };
        if full {
            let retry_after_ms = RETRY_AFTER_MS;
            return self.refuse(way, Refusal::Overloaded { retry_after_ms }, now);
        }
        let Some(position) = self.meant(frame.to) else {
            let incarnation = self.me.incarnation;
            return self.refuse(way, Refusal::NotMember { incarnation }, now);
        };
        self.counters.served.by_kind[counters::kind_of(&request)] += 1;
        let deadline = now + frame.remaining;
        let terms = Terms {
            deadline,
            class: frame.class,
            trace: frame.trace,
        };
        self.effects.push_back(Effect::Request {
            way,
            position,
            from,
            terms,
            request,
        });
    }

    /// Which of our positions is meant: zero is whoever answers at the address.
    fn meant(&self, to: Id) -> Option<u16> {
        if to == Id::ZERO {
            Some(0)
        } else {
            self.own_position(to)
        }
    }

    fn refuse(&mut self, way: Way, refusal: Refusal, now: Instant) {
        self.counters.refused += 1;
        self.reply(way, Response::Refused(refusal), now);
    }

    fn answered(&mut self, id: LinkId, frame: ResponseFrame) {
        let Some(link) = self.links.get_mut(&id) else {
            return;
        };
        // Unknown numbers belong to calls that were given up.
        let Some(call) = link.calls.remove(&frame.id) else {
            return;
        };
        self.answer(&call, Ok(frame.response));
    }

    /// Answers a request, on the way it came.
    pub(crate) fn reply(&mut self, way: Way, response: Response, now: Instant) {
        self.hosts.end_serving(way.host);
        let Some(link) = self.links.get_mut(&way.link) else {
            return;
        };
        link.serving = link.serving.saturating_sub(1);
        link.used = now;
        let incarnation = self.me.incarnation;
        let frame = Frame::Response(ResponseFrame {
            id: way.id,
            incarnation,
            response,
        });
        if let Some(stream) = way.bulk {
            return self.reply_on(stream, &frame, now);
        }
        if frames::is_large(&frame) {
            let Frame::Response(ResponseFrame { response, .. }) = frame else {
                return;
            };
            return self.queue_bulk(
                way.link,
                Bulky::Answer {
                    id: way.id,
                    response,
                },
                now,
            );
        }
        match frames::append(&frame, now, &mut link.out) {
            Ok(_) => self.dirty.push(way.link),
            Err(error) => {
                tracing::error!(%error, "a response cannot be encoded");
                self.refuse_overloaded(way.link, way.id, now);
            }
        }
    }

    /// Answers on the stream that the request came on. If that is gone, nobody waits.
    fn reply_on(&mut self, stream: oneshot::Sender<Bytes>, frame: &Frame, now: Instant) {
        let bytes = frames::alone(frame, now).or_else(|error| {
            tracing::error!(%error, "a response cannot be encoded");
            let Frame::Response(frame) = frame else {
                return Err(error);
            };
            frames::alone(&overloaded(frame.id, frame.incarnation), now)
        });
        if let Ok(bytes) = bytes {
            self.counters.bytes_sent += bytes.len() as u64;
            let _ = stream.send(bytes);
        }
    }

    /// Instead of a response that finds no way: come back later.
    pub(super) fn refuse_overloaded(&mut self, id: LinkId, number: u32, now: Instant) {
        self.counters.refused += 1;
        let frame = overloaded(number, self.me.incarnation);
        let Some(link) = self.links.get_mut(&id) else {
            return;
        };
        if frames::append(&frame, now, &mut link.out).is_ok() {
            self.dirty.push(id);
        }
    }

    /// A bulk stream of ours is done with. If `call` is still open, no answer came on it.
    pub(crate) fn bulk_ended(
        &mut self,
        id: LinkId,
        call: Option<u32>,
        refused: bool,
        now: Instant,
    ) {
        let Some(link) = self.links.get_mut(&id) else {
            return;
        };
        link.bulk_flying = link.bulk_flying.saturating_sub(1);
        if let Some(call) = call.and_then(|number| link.calls.remove(&number)) {
            self.bulk_failed(&call, refused);
        }
        self.start_bulk(id, now);
    }

    fn bulk_failed(&mut self, call: &Call, refused: bool) {
        if refused {
            let refusal = Refusal::Overloaded {
                retry_after_ms: RETRY_AFTER_MS,
            };
            self.answer(call, Ok(Response::Refused(refusal)));
        } else {
            self.fail(call, chord_core::event::CallError::Garbled);
        }
    }
}

fn overloaded(id: u32, incarnation: u32) -> Frame {
    let response = Response::Refused(Refusal::Overloaded {
        retry_after_ms: RETRY_AFTER_MS,
    });
    Frame::Response(ResponseFrame {
        id,
        incarnation,
        response,
    })
}
