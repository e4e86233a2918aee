//! Is there a ring? Asking everybody before entering one, or founding it again.
//!
//! ```text
//! new ── Neighbours ──▶ seeds, known peers   its list: a member · NotMember: starting or lost too
//!                                            silence: not there
//! ```
//!
//! A node that did know peers founds again only if everybody it can reach is starting or lost
//! too, and its turn has come: a whole cluster that was restarted. Turns lie [`FOUND_AGAIN`]
//! apart, the lowest id first, so that two do not found at once; whoever's turn has come asks
//! those who start once more, since one of them may have founded meanwhile.
//!
//! **Invariant:** a ring is founded again only after every contact has answered or been silent,
//! and nobody who was heard is a member.

use alloc::vec::Vec;

use crate::event::{CallError, Class, Notice, State};
use crate::message::{Refusal, Request, Response};
use crate::node::{Cx, Node};
use crate::peer::Peer;
use crate::then::Then;
use crate::time::{Instant, Micros};
use crate::upkeep::Task;

/// Nobody founds a ring again before it has looked for others for this long.
const FOUND_AGAIN: Micros = Micros::from_secs(2);
/// Pace of surveys: doubles from the first to the last.
const SURVEY_MIN: Micros = Micros::from_millis(250);
const SURVEY_MAX: Micros = Micros::from_secs(2);
/// Peers asked in one survey.
pub(crate) const SURVEY_PEERS: usize = 48;

/// What a contact was heard to be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Heard {
    Silent,
    Starting,
    Member,
}

/// Somebody who may know of a ring.
#[derive(Clone, Copy, Debug)]
struct Contact {
    peer: Peer,
    /// Questions in flight.
    asked: u8,
    /// What the latest answer said; absent before the first.
    heard: Option<Heard>,
    /// When it was first heard to be starting, whichever of its lives.
    starting: Option<Instant>,
    /// Its answer is waited for before the ring is founded again.
    confirms: bool,
}

/// What a node that is entering knows of others.
#[derive(Clone, Debug, Default)]
pub(crate) struct Survey {
    since: Option<Instant>,
    pace: Micros,
    contacts: Vec<Contact>,
    told_unreachable: bool,
    /// It is our turn to found the ring again, and those who start are asked once more.
    confirming: bool,
}

impl Survey {
    pub(crate) fn begun(now: Instant) -> Self {
        Self {
            since: Some(now),
            pace: SURVEY_MIN,
            ..Self::default()
        }
    }

    pub(crate) fn has_begun(&self) -> bool {
        self.since.is_some()
    }

    /// The next surveys follow each other quickly again. The first pause.
    pub(crate) fn hasten(&mut self) -> Micros {
        self.pace = SURVEY_MIN;
        SURVEY_MIN
    }

    /// One entry for a node, whichever of its lives: an answer finds one entry only, and a
    /// second one would be asked and never heard.
    fn contact(&mut self, peer: Peer) -> Option<&mut Contact> {
        self.contacts
            .iter_mut()
            .find(|known| known.peer.id == peer.id && known.peer.addr == peer.addr)
    }

    /// Who is not asked any more has no say: a seed that is known by its id now would count for
    /// ever as what it was when it was a seed, and as a member that is long dead.
    fn forget_others(&mut self, asked: &[Peer]) {
        self.contacts.retain(|known| {
            let same = |peer: &Peer| peer.id == known.peer.id && peer.addr == known.peer.addr;
            known.asked > 0 || asked.iter().any(same)
        });
    }

    /// Notes one more question to a peer.
    fn ask(&mut self, peer: Peer) {
        if let Some(known) = self.contact(peer) {
            known.peer = peer;
            known.asked = known.asked.saturating_add(1);
            return;
        }
        self.contacts.push(Contact {
            peer,
            asked: 1,
            heard: None,
            starting: None,
            confirms: false,
        });
    }

    /// Notes one answer, or that none came (`Silent`), or that it was no answer of the one asked
    /// (`None`): then nothing is known of it.
    fn answered(&mut self, peer: Peer, heard: Option<Heard>, now: Instant) {
        let Some(known) = self.contact(peer) else {
            return;
        };
        known.asked = known.asked.saturating_sub(1);
        known.heard = heard;
        if heard == Some(Heard::Starting) {
            known.starting.get_or_insert(now);
        }
    }

    /// Whether everybody was heard or has been silent, and nobody is a member.
    fn found_nobody(&self) -> bool {
        self.contacts.iter().all(|contact| match contact.heard {
            Some(Heard::Silent | Heard::Starting) => !contact.confirms || contact.asked == 0,
            Some(Heard::Member) | None => false,
        })
    }

    /// When it is the turn of `me` to found the ring again. The lowest id comes first, each
    /// other one a little later, since those before it may be newcomers that were never in the
    /// ring and found nothing. Those before it may have started later too, so its turn counts
    /// from when the last of them was first heard.
    fn turn(&self, me: Peer) -> Option<Instant> {
        let since = self.since?;
        let before_us = self.contacts.iter().filter(|contact| {
            contact.heard == Some(Heard::Starting)
                && !contact.peer.is_seed()
                && contact.peer.id < me.id
        });
        let latest = before_us.clone().filter_map(|contact| contact.starting);
        let from = latest.max().map_or(since, |latest| latest.max(since));
        let turns = u64::try_from(before_us.count()).unwrap_or(u64::MAX);
        Some(from + FOUND_AGAIN.times(turns.saturating_add(1)))
    }
}

impl Node {
    fn is_entering(&self) -> bool {
        matches!(self.state, State::Joining | State::Lost)
    }

    /// Asks everybody this node has heard of whether there is a ring.
    pub(crate) fn survey(&mut self, cx: &mut Cx) {
        if !self.is_entering() {
            return;
        }
        let confirm = !self.joining.busy && self.may_found_again(cx.now.mono);
        self.schedule_survey(cx);
        if self.joining.busy {
            return;
        }
        self.joining.survey.confirming = confirm;
        for contact in &mut self.joining.survey.contacts {
            contact.confirms = false;
        }
        if confirm {
            self.confirm_start(cx);
            return;
        }
        self.tell_unreachable(cx);
        let mut peers: Vec<Peer> = self
            .passive
            .peers()
            .chain(self.ring.predecessor())
            .collect();
        for &seed in &self.seeds {
            if peers.iter().all(|peer| peer.addr != seed) {
                peers.push(Peer::seed(seed));
            }
        }
        peers.truncate(SURVEY_PEERS);
        self.joining.survey.forget_others(&peers);
        for peer in peers {
            let contact = self.joining.survey.contact(peer);
            if contact.is_none_or(|known| known.asked == 0) {
                self.ask_about_ring(cx, peer);
            }
        }
    }

    /// The next survey, at the latest when it may be our turn to found the ring again.
    fn schedule_survey(&mut self, cx: &mut Cx) {
        let pace = self.joining.survey.pace;
        self.joining.survey.pace = Micros(pace.0.saturating_mul(2)).min(SURVEY_MAX);
        let after = self.jitter(pace, Micros(pace.0 + pace.0 / 4));
        let turn = self.joining.survey.turn(self.me);
        let wait = turn.map_or(Micros::ZERO, |turn| turn.since(cx.now.mono));
        let after = if wait == Micros::ZERO {
            after
        } else {
            after.min(wait)
        };
        self.schedule(cx, Task::Join, after);
    }

    fn ask_about_ring(&mut self, cx: &mut Cx, peer: Peer) {
        self.joining.survey.ask(peer);
        let request = Request::Neighbours { digest: 0 };
        self.call(cx, peer, request, Class::Ring, Then::Surveyed);
    }

    /// Nobody was a member when last asked, which is long ago: another one may have founded the
    /// ring since, and two rings would be one again only much later.
    fn confirm_start(&mut self, cx: &mut Cx) {
        let since = self.joining.survey.since.unwrap_or(cx.now.mono);
        let mut starting = Vec::new();
        for contact in &mut self.joining.survey.contacts {
            // Whoever started after it was asked has asked us meanwhile.
            let spoke = self.contacts.heard_since(contact.peer.id, since);
            if spoke || contact.heard == Some(Heard::Starting) {
                contact.confirms = true;
                starting.push(contact.peer);
            }
        }
        if starting.is_empty() {
            self.found_ring(cx, true);
        }
        for peer in starting {
            self.ask_about_ring(cx, peer);
        }
    }

    fn tell_unreachable(&mut self, cx: &mut Cx) {
        let survey = &mut self.joining.survey;
        let silent = |contact: &Contact| contact.heard == Some(Heard::Silent);
        let all = !survey.contacts.is_empty() && survey.contacts.iter().all(silent);
        if all && !survey.told_unreachable {
            survey.told_unreachable = true;
            cx.notice(Notice::Unreachable);
        }
    }

    /// Whether everybody reachable is starting or lost, and it is this node's turn.
    fn may_found_again(&self, now: Instant) -> bool {
        let was_in_a_ring = self.state == State::Lost || !self.passive.is_empty();
        let survey = &self.joining.survey;
        was_in_a_ring
            && survey.turn(self.me).is_some_and(|turn| now >= turn)
            && survey.found_nobody()
    }

    pub(crate) fn surveyed(
        &mut self,
        cx: &mut Cx,
        peer: Peer,
        result: Result<Response, CallError>,
    ) {
        if !self.is_entering() {
            return;
        }
        let heard = match result {
            // Who is asked by its position answers for itself, not for somebody else.
            Ok(Response::Neighbours {
                me: member, wall, ..
            }) if peer.is_seed() || member.id == peer.id => {
                if member.id == self.me.id {
                    if member.incarnation != self.me.incarnation {
                        cx.notice(Notice::TwoLives { peer: member });
                    }
                    let contacts = &mut self.joining.survey.contacts;
                    contacts.retain(|known| known.peer != peer);
                    return;
                }
                self.clocks.heard(peer.addr, wall, cx.now);
                self.passive.add(member, None, cx.now.mono);
                self.search_for_place(cx, member);
                Some(Heard::Member)
            }
            Ok(Response::Refused(Refusal::NotMember { incarnation })) => {
                self.contact_lives(peer, incarnation);
                Some(Heard::Starting)
            }
            // It was asked in an earlier life, and of this one nothing is known yet: it may be
            // the member that all others look for.
            Err(CallError::Restarted { incarnation })
                if incarnation > peer.incarnation && !peer.is_seed() =>
            {
                self.contact_lives(peer, incarnation);
                let renewed = Peer {
                    incarnation,
                    ..peer
                };
                self.ask_about_ring(cx, renewed);
                None
            }
            // That life is over, as another call has found out: whoever came back in its place
            // must have its say before we found a ring beside it.
            Err(CallError::Unreachable) if peer.incarnation != 0 && !peer.is_seed() => {
                let any_life = Peer {
                    incarnation: 0,
                    ..peer
                };
                self.ask_about_ring(cx, any_life);
                None
            }
            Ok(_) | Err(_) => Some(Heard::Silent),
        };
        self.joining.survey.answered(peer, heard, cx.now.mono);
        if self.joining.busy || !self.may_found_again(cx.now.mono) {
            return;
        }
        if self.joining.survey.confirming {
            self.found_ring(cx, true);
        } else {
            self.tasks.hasten(Task::Join, cx.now.mono);
        }
    }

    /// A contact turned out to be in another life than remembered.
    fn contact_lives(&mut self, peer: Peer, incarnation: u32) {
        if peer.is_seed() {
            return;
        }
        let renewed = Peer {
            incarnation,
            ..peer
        };
        self.passive.renew(renewed);
        for known in &mut self.joining.survey.contacts {
            if known.peer.id == peer.id {
                known.peer = renewed;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::Id;
    use crate::peer::Addr;

    fn peer(n: u8, incarnation: u32) -> Peer {
        let mut id = [0; 20];
        id[0] = n;
        Peer {
            id: Id(id),
            addr: Addr::v4(10, 0, 0, n, 1),
            incarnation,
        }
    }

    fn at(seconds: u64) -> Instant {
        Instant(0) + Micros::from_secs(seconds)
    }

    fn heard(survey: &mut Survey, n: u8, heard: Heard, now: Instant) {
        survey.ask(peer(n, 1));
        survey.answered(peer(n, 1), Some(heard), now);
    }

    #[test]
    fn the_lowest_id_comes_first_and_each_other_one_a_turn_later() {
        let mut survey = Survey::begun(at(0));
        heard(&mut survey, 20, Heard::Starting, at(0));
        heard(&mut survey, 30, Heard::Starting, at(0));
        heard(&mut survey, 10, Heard::Silent, at(1));
        assert_eq!(survey.turn(peer(15, 1)), Some(at(2)));
        assert_eq!(survey.turn(peer(25, 1)), Some(at(4)));
        assert_eq!(survey.turn(peer(35, 1)), Some(at(6)));
    }

    #[test]
    fn who_starts_later_and_lies_lower_has_its_whole_turn_first() {
        let mut survey = Survey::begun(at(0));
        heard(&mut survey, 20, Heard::Starting, at(0));
        heard(&mut survey, 30, Heard::Starting, at(3));
        assert_eq!(survey.turn(peer(25, 1)), Some(at(4)));
        assert_eq!(survey.turn(peer(35, 1)), Some(at(3 + 6)));
        // That it starts over and over puts off nobody for ever.
        heard(&mut survey, 30, Heard::Starting, at(8));
        assert_eq!(survey.turn(peer(35, 1)), Some(at(3 + 6)));
    }

    #[test]
    fn nobody_is_found_before_all_were_heard_or_silent() {
        let mut survey = Survey::begun(at(0));
        survey.ask(peer(1, 1));
        assert!(!survey.found_nobody());
        survey.answered(peer(1, 1), Some(Heard::Silent), at(2));
        assert!(survey.found_nobody());
        heard(&mut survey, 2, Heard::Member, at(2));
        assert!(!survey.found_nobody());
    }

    #[test]
    fn an_answer_that_confirms_is_waited_for_whichever_life_gives_it() {
        let mut survey = Survey::begun(at(0));
        heard(&mut survey, 1, Heard::Starting, at(0));
        survey.contact(peer(1, 1)).expect("asked").confirms = true;
        survey.ask(peer(1, 1));
        // It is in a later life, which must be asked: no answer yet.
        survey.ask(peer(1, 2));
        survey.answered(peer(1, 1), None, at(3));
        assert!(!survey.found_nobody());
        survey.answered(peer(1, 2), Some(Heard::Starting), at(4));
        assert!(survey.found_nobody());
    }

    #[test]
    fn who_turns_out_to_live_anew_is_unknown_until_it_answers() {
        let mut survey = Survey::begun(at(0));
        heard(&mut survey, 1, Heard::Silent, at(0));
        assert!(survey.found_nobody());
        survey.ask(peer(1, 1));
        survey.ask(peer(1, 2));
        survey.answered(peer(1, 1), None, at(3));
        assert!(!survey.found_nobody());
    }
}
