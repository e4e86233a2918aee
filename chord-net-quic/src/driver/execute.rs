//! Carrying out what nodes and connections want done. Nothing here waits.

use chord_core::event::{
    Action, Event, Failure, Notice, OpId, Outcome, StoreCommand, Terms, Ticket,
};
use chord_core::message::{Request, Response};
use chord_core::peer::Peer;
use chord_core::time::{Instant, Now};

use crate::api::HostStatus;
use crate::clock;
use crate::counters;
use crate::driver::inventory::HOST;
use crate::driver::tickets::Origin;
use crate::driver::{Driver, FAREWELL, REMEMBER_SOON, notices};
use crate::link::Heard;
use crate::peers::{Call, Code, Effect, End, Stage};
use crate::store::{Answered, Broken, Report, Room, Token};

impl Driver {
    /// Carries out what the node at `position` wants.
    pub(super) fn execute(&mut self, position: u16, action: Action, now: Now) {
        match action {
            Action::Finish { ticket, result } => self.finish(ticket, result, now.mono),
            Action::Reply { ticket, response } => self.reply(ticket, response, now.mono),
            Action::Call {
                op,
                to,
                terms,
                request,
            } => {
                self.call(position, op, to, terms, request, now.mono);
            }
            Action::Store { op, command } => self.store(position, op, command, now),
            Action::Notice(notice) => self.notice(position, &notice, now.mono),
        }
    }

    fn finish(&mut self, ticket: Ticket, result: Result<Outcome, Failure>, now: Instant) {
        match self.tickets.take(ticket) {
            Some(Origin::Command(answer)) => {
                let _ = answer.send(result); // Who does not wait any more does not mind.
            }
            Some(Origin::Status(answer)) => {
                let _ = answer.send(self.status(result, now));
            }
            Some(Origin::Leave) => self.left(&result, now),
            Some(Origin::Join) => {}
            Some(Origin::Remote(_) | Origin::Sibling { .. }) | None => {
                debug_assert!(false, "a node finished what was no command");
            }
        }
    }

    fn status(
        &self,
        result: Result<Outcome, Failure>,
        now: Instant,
    ) -> Result<HostStatus, Failure> {
        let Outcome::Status(node) = result? else {
            return Err(Failure::Invalid);
        };
        let stats = self.store.stats();
        let not_after = self.identity.certified().not_after;
        let unavailable = node
            .unavailable_since
            .map(|since| clock::duration(now.since(since)));
        Ok(HostStatus {
            records: stats.records,
            bytes: stats.bytes,
            tombstones: stats.tombstones,
            store: self.store.work(),
            room: self.room,
            certificate_expires: clock::since_epoch(not_after.as_secs()),
            unavailable_for: unavailable,
            duplicate: self.duplicate(),
            connections: u32::try_from(self.peers.open()).unwrap_or(u32::MAX),
            uptime: clock::duration(now.since(self.started)),
            node,
        })
    }

    fn reply(&mut self, ticket: Ticket, response: Response, now: Instant) {
        match self.tickets.take(ticket) {
            Some(Origin::Remote(way)) => self.peers.reply(way, response, now),
            Some(Origin::Sibling { position, op }) => {
                self.queue.push_back((
                    position,
                    Event::Answer {
                        op,
                        result: Ok(response),
                    },
                ));
            }
            Some(Origin::Command(_) | Origin::Status(_) | Origin::Join | Origin::Leave) | None => {
                debug_assert!(false, "a node replied to what was no request");
            }
        }
    }

    fn call(
        &mut self,
        position: u16,
        op: OpId,
        to: Peer,
        terms: Terms,
        request: Request,
        now: Instant,
    ) {
        let Some(sibling) = self.peers.own_position(to.id) else {
            let call = Call {
                position,
                op,
                to,
                terms,
                request,
                stage: Stage::Fresh,
            };
            return self.peers.call(call, now);
        };
        // Another position of this very host: no wire between.
        let Some(from) = self.peers.own_peer(position) else {
            return;
        };
        let ticket = self.tickets.mint(Origin::Sibling { position, op });
        self.queue.push_back((
            sibling,
            Event::Request {
                ticket,
                from,
                terms,
                request,
            },
        ));
    }

    fn store(&mut self, position: u16, op: OpId, command: StoreCommand, now: Now) {
        if let Some(result) = self.store.submit(Token { position, op }, command, now) {
            self.queue
                .push_back((position, Event::Stored { op, result }));
        }
    }

    /// Takes what the store has to say.
    pub(super) fn reported(&mut self, report: Report, now: Now) {
        match report {
            Report::Answers(answers) => {
                for Answered { token, result } in answers {
                    let Token { position, op } = token;
                    match position {
                        HOST => self.listed(op, result, now),
                        _ => {
                            let event = Event::Stored { op, result };
                            self.queue.push_back((position, event));
                        }
                    }
                }
            }
            Report::Room(room) => {
                self.room = room;
                tell_room(room);
            }
            Report::Broken(broken) => self.broke(broken, now.mono),
        }
    }

    /// Nothing is acknowledged any more: the host leaves the ring and ends.
    fn broke(&mut self, broken: Broken, now: Instant) {
        tracing::error!(?broken, "the store is of no use any more: leaving the ring");
        if self.broken.is_none() {
            self.leave_all();
            self.broken = Some((broken, now + FAREWELL));
        }
    }

    fn notice(&mut self, position: u16, notice: &Notice, now: Instant) {
        self.peers.counters.notices.by_kind[counters::notice_of(notice)] += 1;
        if let Some(me) = self.peers.own_peer(position) {
            notices::log(me, notice, &self.alarms);
        }
        if let Notice::ClockOff { ahead } = notice {
            self.store.correct_clock(*ahead);
        }
        if let Notice::Joined { .. } = notice {
            self.store.vouch_for_clock();
        }
        let member = match notice {
            Notice::Joined { .. } => true,
            Notice::Lost => false,
            Notice::HeadChanged { .. } | Notice::PredecessorChanged { .. } => {
                // Whoever forgets its ring in a crash might found another one.
                self.next_chores = self.next_chores.min(now + REMEMBER_SOON);
                return;
            }
            Notice::PeerLost { .. }
            | Notice::Owns { .. }
            | Notice::Settled
            | Notice::MayHaveLost { .. }
            | Notice::Unavailable
            | Notice::Available
            | Notice::ClockSkew
            | Notice::ClockOff { .. }
            | Notice::Slept { .. }
            | Notice::TwoLives { .. }
            | Notice::HandedOver { .. }
            | Notice::Unreachable
            | Notice::Store { .. } => return,
        };
        if let Some(known) = self.members.get_mut(usize::from(position)) {
            *known = member;
        }
        self.board
            .set_joined(self.members.iter().all(|member| *member));
    }

    /// Carries out what the connections need.
    pub(super) fn carry_out(&mut self, effect: Effect, now: Now) {
        match effect {
            Effect::Dial { addr, wanted } => self.endpoint.dial(addr, wanted),
            Effect::Write { link, bytes } => {
                if self.lines.get(&link).is_some_and(|line| !line.write(bytes)) {
                    self.peers
                        .violated(link, "it does not read what it is sent", now.mono);
                }
            }
            Effect::Bulk {
                link,
                bytes,
                call,
                deadline,
            } => match self.lines.get(&link) {
                Some(line) => line.bulk(bytes, call, deadline),
                None => self.peers.bulk_ended(link, call, false, now.mono),
            },
            Effect::Close { link, code } => {
                if let Some(line) = self.lines.remove(&link) {
                    line.close(code);
                }
            }
            Effect::Request {
                way,
                position,
                from,
                terms,
                request,
            } => {
                let ticket = self.tickets.mint(Origin::Remote(way));
                self.queue.push_back((
                    position,
                    Event::Request {
                        ticket,
                        from,
                        terms,
                        request,
                    },
                ));
            }
            Effect::Answer {
                position,
                op,
                result,
            } => {
                self.queue
                    .push_back((position, Event::Answer { op, result }));
            }
            Effect::Lost { peer, why } => {
                let change = chord_core::event::PeerChange::Lost(why);
                for position in self.positions() {
                    self.queue
                        .push_back((position, Event::Peer { peer, change }));
                }
            }
            Effect::Retire { link, later } => {
                if let Some(line) = self.lines.remove(&link) {
                    line.retire(later);
                }
            }
            Effect::TwoLives { peer } => {
                let notice = Notice::TwoLives { peer };
                self.peers.counters.notices.by_kind[counters::notice_of(&notice)] += 1;
                notices::two_lives(peer, &self.alarms);
                if self.peers.is_own(peer.id) {
                    self.met_ourselves(peer.incarnation);
                }
            }
            Effect::Superseded { by } => self.superseded(by, now.mono),
        }
    }

    /// Takes what a link or the endpoint has to say.
    pub(super) fn hear(&mut self, heard: Heard, now: Instant) {
        match heard {
            Heard::Linked {
                link,
                dialled,
                who,
                line,
            } => {
                self.lines.insert(link, line);
                self.peers.linked(link, dialled, &who, now);
            }
            Heard::DialFailed { addr, why } => self.peers.dial_failed(addr, why, now),
            Heard::Frame {
                link,
                frame,
                bulk,
                turn,
            } => {
                self.peers.heard(link, frame, bulk, now);
                drop(turn);
            }
            Heard::BulkEnded {
                link,
                call,
                refused,
            } => {
                self.peers.bulk_ended(link, call, refused, now);
            }
            Heard::Violation { link, what } => self.peers.violated(link, &what, now),
            Heard::Ended { link, end } => {
                let line = self.lines.remove(&link);
                let code = match end {
                    End::Closed(code) => Some(code),
                    End::Superseded(_) => Some(Code::Stale),
                    End::Reset | End::Silent | End::Failed => None,
                };
                if let (Some(line), Some(code)) = (line, code) {
                    let serial = self.identity.certified().serial;
                    let failures = self.endpoint.failures();
                    failures.closed(line.remote(), code, &serial);
                }
                self.peers.ended(link, end, now);
            }
        }
    }
}

fn tell_room(room: Room) {
    match room {
        Room::Enough => tracing::info!("there is room on the disk again: puts are taken"),
        Room::Nearly => tracing::error!(
            "the disk is nearly full: puts are refused until there is room; reads and deletes go on"
        ),
        Room::None => tracing::error!(
            "the disk is full: a write found no room, puts are refused until there is some; reads \
             go on, deletes as long as the ballast in the data directory lasts"
        ),
    }
}
