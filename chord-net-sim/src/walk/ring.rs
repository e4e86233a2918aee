//! A few nodes, the messages between them, and what may befall them.
//!
//! Every message takes up to [`DELAY_MAX`], so that any two may overtake each other, and less than
//! the least timeout, so that a live peer is suspected only where messages to it are lost, or
//! where a walk says so. There are no records: stores answer at once that they hold nothing.

mod premise;

use std::collections::BTreeMap;
use std::sync::Arc;

use chord_core::config::Config;
use chord_core::event::{
    Action, CallError, Command, Event, Lost, Notice, OpId, Outcome, PeerChange, Restored, State,
    StoreAnswer, StoreCommand, Terms, Ticket, View,
};
use chord_core::id::Id;
use chord_core::message::{Refusal, Request, Response};
use chord_core::node::Node;
use chord_core::peer::{Addr, Peer};
use chord_core::time::{Instant, Now};

use premise::{DOUBTED, OUTSIDE, Premise};

use super::claims::Sent;
use super::{Met, Walk};
use crate::chance::{Purpose, Stream};
use crate::oracle::ring::imperfections;

/// Longest way of a message, in microseconds.
const DELAY_MAX: u64 = 20_000;
/// Draws until one is a fault that can happen.
const LAST_TRIES: usize = 50;
/// The wall clock at the beginning.
const WALL: u64 = 1 << 50;

/// Something on its way to a position, in one of its lives.
struct Letter {
    at: u64,
    to: usize,
    life: u32,
    from: Peer,
    op: OpId,
    body: Body,
}

#[derive(Debug)]
enum Body {
    Ask { terms: Terms, request: Request },
    Say(Result<Response, CallError>),
}

impl Letter {
    /// The list that it brings, if it is an answer with one.
    fn list(&self) -> Option<&[Peer]> {
        match &self.body {
            Body::Say(Ok(Response::Neighbours {
                successors: Some(list),
                ..
            })) => Some(list),
            _ => None,
        }
    }
}

pub(super) struct Ring {
    config: Arc<Config>,
    seed: u64,
    pub(super) chance: Stream,
    losses: u16,
    blind: bool,
    pub(super) now: u64,
    nodes: Vec<Option<Node>>,
    lives: Vec<u32>,
    letters: Vec<Letter>,
    /// Whom to answer, and which of its operations.
    tickets: BTreeMap<Ticket, (Peer, OpId)>,
    minted: u64,
    /// Who takes whom for dead although it may live, and until when.
    doubted: Vec<(Peer, Peer, u64)>,
    premise: Premise,
    pub(super) met: Met,
    /// What happened, if somebody wants to know.
    pub(super) story: Option<Vec<String>>,
}

impl Ring {
    /// A ring of one, at position 0.
    pub(super) fn new(walk: &Walk) -> Self {
        let config = Config {
            successors: walk.length,
            copies: walk.length.min(3),
            copies_max: walk.length.min(8),
            ..Config::default()
        };
        let positions = walk.positions.min(64);
        let mut ring = Self {
            config: Arc::new(config),
            seed: walk.seed,
            chance: Stream::new(walk.seed, u32::MAX),
            losses: walk.losses,
            blind: walk.blind,
            now: 0,
            nodes: (0..positions).map(|_| None).collect(),
            lives: vec![0; positions],
            letters: Vec::new(),
            tickets: BTreeMap::new(),
            minted: 0,
            doubted: Vec::new(),
            premise: Premise::Small,
            met: Met::default(),
            story: None,
        };
        ring.start(0, Vec::new());
        ring
    }

    /// So many members at rest.
    pub(super) fn form(&mut self, members: usize) -> Result<(), String> {
        let losses = std::mem::take(&mut self.losses);
        for at in 1..members.min(self.nodes.len()) {
            self.start(at, vec![self.peer(0).addr]);
            while !self.is_ideal() {
                self.step()?;
            }
        }
        self.losses = losses;
        Ok(())
    }

    /// The longest time between two stabilisations of a member, in microseconds.
    pub(super) fn round(&self) -> u64 {
        self.config.stabilise_max.0
    }

    /// From now on, every message arrives.
    pub(super) fn lose_nothing(&mut self) {
        self.losses = 0;
    }

    // ---- who is there ------------------------------------------------------------------

    fn peer(&self, at: usize) -> Peer {
        let apart = u64::MAX / self.nodes.len() as u64;
        Peer {
            id: Id::from_prefix(apart * at as u64 + 1),
            addr: Addr::v4(10, 0, 0, at as u8, 1),
            incarnation: self.lives[at],
        }
    }

    fn position_of(&self, addr: Addr) -> Option<usize> {
        (0..self.nodes.len()).find(|&at| self.peer(at).addr == addr)
    }

    fn is_in(&self, at: usize, states: &[State]) -> bool {
        let node = self.nodes[at].as_ref();
        node.is_some_and(|node| states.contains(&node.state()))
    }

    fn is_member(&self, at: usize) -> bool {
        self.is_in(at, &[State::Joined, State::Leaving])
    }

    fn members(&self) -> Vec<usize> {
        let all = 0..self.nodes.len();
        all.filter(|&at| self.is_member(at)).collect()
    }

    fn views(&self) -> Vec<View> {
        let nodes = self.members().into_iter();
        nodes
            .filter_map(|at| self.nodes[at].as_ref())
            .map(|node| View {
                me: node.me(),
                predecessor: node.ring().predecessor(),
                successors: node.ring().successors().to_vec(),
            })
            .collect()
    }

    /// Lists in answers on their way to somebody who may still take them.
    fn sent(&self) -> Vec<Sent> {
        let there = |letter: &&Letter| {
            self.nodes[letter.to].is_some() && self.lives[letter.to] == letter.life
        };
        let letters = self.letters.iter().filter(there);
        letters
            .filter_map(|letter| {
                Some(Sent {
                    from: letter.from,
                    list: letter.list()?.to_vec(),
                    enters: !self.is_member(letter.to),
                })
            })
            .collect()
    }

    pub(super) fn imperfections(&self) -> Vec<String> {
        let mut members = self.views();
        if let [alone] = &mut members[..] {
            // A predecessor is never cleared, so it names the last one that there was.
            alone.predecessor = None;
        }
        let mut wrong = imperfections(&members, self.config.successors.into());
        let outside = (0..self.nodes.len()).filter(|&at| self.nodes[at].is_some());
        let outside = outside.filter(|&at| !self.is_member(at));
        wrong.extend(outside.map(|at| format!("{:?} is outside", self.peer(at))));
        wrong
    }

    pub(super) fn is_ideal(&self) -> bool {
        self.imperfections().is_empty()
    }

    pub(super) fn heads_are_right(&self) -> bool {
        let members = self.views();
        let count = members.len();
        (0..count).all(|at| {
            let head = members[at].successors.first().copied();
            count == 1 || head == Some(members[(at + 1) % count].me)
        })
    }

    // ---- what may befall them ----------------------------------------------------------

    /// One of the faults, if it can happen.
    pub(super) fn fault(&mut self, walk: &Walk) {
        let members = self.members();
        let (who, whom) = (self.one_of(&members), self.one_of(&members));
        if self.chance.below(Purpose::Fault, 100) < walk.suspicions.into() {
            if let (Some(who), Some(whom)) = (who, whom)
                && who != whom
                && self.is_taken(walk, Some(who), whom)
            {
                self.suspect(who, whom);
            }
            return;
        }
        let kind = self.chance.below(Purpose::Fault, 4);
        if kind < 2 {
            self.join();
            return;
        }
        // Somebody stays for those who enter to find.
        let stays = |at: &usize| Some(*at) != whom && self.is_in(*at, &[State::Joined]);
        if let Some(whom) = whom
            && members.iter().any(stays)
            && self.is_taken(walk, None, whom)
        {
            match kind {
                2 => {
                    self.count("failure", format!("{whom} fails"));
                    self.nodes[whom] = None;
                }
                _ => {
                    self.count("leave", format!("{whom} begins to leave"));
                    self.command(whom, Command::Leave);
                }
            }
        }
    }

    /// A fault that somebody must heal from, not a join; none if none can happen.
    pub(super) fn last_fault(&mut self, walk: &Walk) {
        let count = |ring: &Self| {
            let kinds = ring.met.faults.iter().filter(|(kind, _)| **kind != "join");
            kinds.map(|(_, count)| count).sum::<u64>()
        };
        let before = count(self);
        for _ in 0..LAST_TRIES {
            self.fault(walk);
            if count(self) > before {
                break;
            }
        }
    }

    fn one_of(&mut self, some: &[usize]) -> Option<usize> {
        let at = self.chance.index(Purpose::Fault, some.len());
        at.map(|at| some[at])
    }

    fn count(&mut self, kind: &'static str, what: String) {
        *self.met.faults.entry(kind).or_default() += 1;
        self.tell(|| what);
    }

    fn tell(&mut self, what: impl FnOnce() -> String) {
        if let Some(story) = &mut self.story {
            story.push(format!("{:>9} ms  {}", self.now / 1_000, what()));
        }
    }

    fn start(&mut self, at: usize, seeds: Vec<Addr>) {
        self.lives[at] += 1;
        let seed = self.seed ^ u64::from(self.lives[at]) << 32 ^ at as u64;
        let (config, me, now) = (self.config.clone(), self.peer(at), self.clock());
        let node = Node::new(config, me, seed, now, Restored::default());
        self.nodes[at] = Some(node.expect("the options are valid"));
        self.command(at, Command::Join { seeds });
    }

    /// Somebody starts where nobody is, and knows every address.
    fn join(&mut self) {
        let members = self.members();
        let lives = |peer: &Peer| members.iter().any(|&at| self.peer(at) == *peer);
        let vouched = |at: &usize| {
            let list = self.nodes[*at]
                .as_ref()
                .map(|node| node.ring().successors());
            list.is_none_or(|list| list.is_empty() || list.iter().any(lives))
        };
        // Of small rings nothing is claimed while somebody enters a list of the dead.
        let steady = members
            .iter()
            .all(|at| self.is_in(*at, &[State::Joined]) && vouched(at));
        if self.premise == Premise::Small && !steady {
            return;
        }
        let vacant = (0..self.nodes.len()).filter(|&at| self.nodes[at].is_none());
        let vacant: Vec<usize> = vacant.collect();
        if let Some(at) = self.one_of(&vacant) {
            let seeds = (0..self.nodes.len()).map(|at| self.peer(at).addr).collect();
            self.count("join", format!("{at} starts"));
            self.start(at, seeds);
        }
    }

    fn suspect(&mut self, who: usize, whom: usize) {
        let (by, peer) = (self.peer(who), self.peer(whom));
        self.count("suspicion", format!("{who} takes {whom} for dead"));
        self.doubted.push((by, peer, self.now + DOUBTED));
        let change = PeerChange::Lost(Lost::Reset);
        self.handle(who, Event::Peer { peer, change });
    }

    fn command(&mut self, at: usize, command: Command) {
        let ticket = self.mint();
        self.handle(at, Event::Command { ticket, command });
    }

    fn mint(&mut self) -> Ticket {
        self.minted += 1;
        Ticket(self.minted)
    }

    // ---- time --------------------------------------------------------------------------

    fn clock(&self) -> Now {
        Now {
            mono: Instant(self.now),
            wall: WALL + self.now,
        }
    }

    /// The next event, and the claims after it.
    pub(super) fn step(&mut self) -> Result<(), String> {
        let letter = (0..self.letters.len()).min_by_key(|&n| self.letters[n].at);
        let wake = (0..self.nodes.len())
            .filter_map(|at| Some((self.nodes[at].as_ref()?.next_deadline()?.0, at)))
            .min();
        let before = self.revisions();
        self.met.steps += 1;
        match (letter, wake) {
            (Some(n), wake) if wake.is_none_or(|(at, _)| self.letters[n].at <= at) => {
                let letter = self.letters.swap_remove(n);
                self.now = self.now.max(letter.at);
                self.deliver(letter);
            }
            (_, Some((due, at))) => {
                self.now = self.now.max(due);
                self.handle(at, Event::Wake);
            }
            (_, None) => return Err("nothing will ever happen again".to_owned()),
        }
        if before == self.revisions() {
            return Ok(());
        }
        self.judge()
    }

    /// Changes with every change of a list, a predecessor or the membership.
    fn revisions(&self) -> (u64, Vec<usize>) {
        let nodes = self.nodes.iter().flatten();
        let sum = nodes.map(|node| u64::from(node.ring().revision())).sum();
        (sum, self.members())
    }

    fn deliver(&mut self, letter: Letter) {
        let Letter {
            to: at,
            life,
            from,
            op,
            body,
            ..
        } = letter;
        let there = self.nodes[at].is_some();
        self.tell(|| format!("    {at} ← {from:?}: {body:?}"));
        match body {
            Body::Ask { terms, request } => {
                let later = life != 0 && life < self.lives[at];
                if there && !later {
                    let ticket = self.mint();
                    self.tickets.insert(ticket, (from, op));
                    let event = Event::Request {
                        ticket,
                        from,
                        terms,
                        request,
                    };
                    self.handle(at, event);
                } else if there {
                    let incarnation = self.lives[at];
                    self.answer(at, from, op, Err(CallError::Restarted { incarnation }));
                } else if self.chance.below(Purpose::Refuse, 2) == 0 {
                    // A host that is down says so, or says nothing.
                    self.answer(at, from, op, Err(CallError::Unreachable));
                }
            }
            Body::Say(result) if there && life == self.lives[at] => {
                if let Ok(Response::Refused(Refusal::NotMember { .. })) = result {
                    self.doubted.push((self.peer(at), from, self.now + OUTSIDE));
                }
                self.handle(at, Event::Answer { op, result });
            }
            Body::Say(_) => {}
        }
    }

    fn answer(&mut self, at: usize, to: Peer, op: OpId, result: Result<Response, CallError>) {
        let me = self.peer(at);
        self.send(me, to, op, Body::Say(result));
    }

    fn send(&mut self, from: Peer, to: Peer, op: OpId, body: Body) {
        let lost = self.chance.below(Purpose::Drop, 1_000) < self.losses.into();
        let delay = self.chance.below(Purpose::Delay, DELAY_MAX);
        if let Some(at) = self.position_of(to.addr).filter(|_| !lost) {
            self.letters.push(Letter {
                at: self.now + delay,
                to: at,
                life: to.incarnation,
                from,
                op,
                body,
            });
        }
    }

    /// Hands an event to a node, and does what it says.
    fn handle(&mut self, at: usize, event: Event) {
        let now = self.clock();
        let mut todo = vec![event];
        while let Some(event) = todo.pop() {
            let was_member = self.is_member(at);
            let Some(node) = &mut self.nodes[at] else {
                return;
            };
            let me = node.me();
            let mut out = Vec::new();
            node.handle(now, event, &mut out);
            if was_member && !self.is_member(at) {
                // It has said goodbye, or is cut off; lists have changed since it began to.
                self.notice_failure(None, at);
            }
            for action in out {
                match action {
                    Action::Finish { result, .. } => {
                        if let Ok(Outcome::Left { .. }) = result {
                            self.nodes[at] = None;
                        }
                    }
                    Action::Reply { ticket, response } => {
                        if let Some((to, op)) = self.tickets.remove(&ticket) {
                            self.answer(at, to, op, Ok(response));
                        }
                    }
                    Action::Call {
                        op,
                        to,
                        terms,
                        request,
                    } => self.send(me, to, op, Body::Ask { terms, request }),
                    Action::Store { op, command } => {
                        let result = Ok(nothing(&command));
                        todo.push(Event::Stored { op, result });
                    }
                    Action::Notice(Notice::PeerLost { peer }) => self.lost(at, peer),
                    Action::Notice(_) => {}
                }
            }
        }
    }
}

/// Members as `position/life [predecessor < successors]`.
fn line(views: &[View]) -> String {
    let name = |peer: &Peer| {
        let host = peer.addr.ip.last().copied().unwrap_or_default();
        format!("{host}/{}", peer.incarnation)
    };
    let each = views.iter().map(|view| {
        let before = view.predecessor.as_ref().map_or("-".to_owned(), name);
        let list: Vec<String> = view.successors.iter().map(name).collect();
        format!("{} [{before} < {}]", name(&view.me), list.join(" "))
    });
    each.collect::<Vec<_>>().join("  ")
}

/// What a store without records answers.
fn nothing(command: &StoreCommand) -> StoreAnswer {
    match command {
        StoreCommand::Get { .. } => StoreAnswer::Record(None),
        StoreCommand::Put { .. } => StoreAnswer::Put { newer: Vec::new() },
        StoreCommand::GetMany { .. } | StoreCommand::Scan { .. } => StoreAnswer::Page {
            records: Vec::new(),
            more: false,
        },
        StoreCommand::List { .. } | StoreCommand::Heads { .. } => StoreAnswer::Heads {
            heads: Vec::new(),
            more: false,
        },
        StoreCommand::Sums { .. } => StoreAnswer::Sums { sums: Vec::new() },
        StoreCommand::Discard { .. } => StoreAnswer::Discarded { count: 0 },
        StoreCommand::Sweep { .. } => StoreAnswer::Swept {
            expired: 0,
            buried: 0,
            more: false,
        },
    }
}
