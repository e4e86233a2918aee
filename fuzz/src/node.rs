//! Arbitrary events against one node: what peers, disks, clocks and clients might do.
//!
//! ```text
//! bytes ── script ──▶ command, request, wake, lost ──▶ node ──▶ ledger
//!                     answer: true, late, false, none ◀─────── calls, store commands
//! ```
//!
//! The other members and the store can tell the truth, which is how a script gets deep;
//! the script decides when they lie, fail, come late, come twice, or stay silent.
//!
//! **Laws.** No ticket is answered twice or without being asked. Once nobody answers any
//! more, time alone brings the answer to every ticket. No operation id is used twice. No
//! call is over when it begins, goes to the node itself or breaks a limit of the wire. One
//! event causes a bounded number of actions. A wake that comes on time leaves no deadline
//! in the past. [`Node::check`] holds after every event.

mod ledger;
mod others;
mod script;
mod store;

use std::sync::Arc;

use chord_core::config::Config;
use chord_core::event::{Action, Command, Event, Restored};
use chord_core::message::Request;
use chord_core::node::Node;
use chord_core::peer::Peer;
use chord_core::time::{Instant, Micros, Now};

use ledger::{Asked, Ledger, Open, Owed};
use others::Others;
use script::{MEMBERS, Script, addr, id};
use store::Shelf;

/// Most events that a script causes: it ends in time, however long it is.
const EVENTS_MAX: u32 = 2_000;
/// Wakes in a row, at one instant, that may pass before the node counts as spinning.
const SPINS_MAX: u32 = 64;
/// How long the end may take: the leave timeout, and the same again.
const END: Micros = Micros::from_secs(60);
/// Wakes in that time: a hundred a second.
const END_WAKES_MAX: u32 = 6_000;
/// Where the clock stops: a deadline behind it would be for ever.
const MONO_MAX: u64 = 1 << 60;

/// What happens in a play, in order.
#[derive(Clone, Copy, Debug)]
pub enum Seen<'a> {
    /// The node is told something.
    Event(Now, &'a Event),
    /// It wants something done.
    Action(&'a Action),
}

/// Plays the script in `data`; `observe` sees everything.
///
/// # Errors
/// The law that was broken, and by what.
pub fn play(data: &[u8], observe: &mut dyn FnMut(Seen<'_>)) -> Result<(), String> {
    let mut script = Script::new(data);
    let mut play = Play::new(&mut script, observe);
    while !script.is_over() && play.events < EVENTS_MAX {
        play.step(&mut script)?;
    }
    play.end(&mut script)
}

struct Play<'a> {
    node: Node,
    me: Peer,
    now: Now,
    ledger: Ledger,
    others: Others,
    shelf: Shelf,
    events: u32,
    observe: &'a mut dyn FnMut(Seen<'_>),
}

impl<'a> Play<'a> {
    fn new(script: &mut Script<'_>, observe: &'a mut dyn FnMut(Seen<'_>)) -> Self {
        let me = Peer {
            id: id(0),
            addr: addr(0),
            incarnation: 7,
        };
        let shape = script.byte();
        let config = Config {
            successors: 2 + shape % 4,
            copies: 1 + shape / 4 % 2,
            copies_max: 2,
            // Small, so that they are reached.
            ops_max: 64,
            page_bytes: 1_024,
            table_max: 8,
            passive_max: 4,
            jitter: shape & 0x80 != 0,
            ..Config::default()
        };
        let others = Others::new(me, script.byte());
        let known = if shape & 0x40 != 0 {
            script.below(4)
        } else {
            0
        };
        let peers = (0..known).map(|_| script.peer()).collect();
        let clock = if shape & 0x20 != 0 { script.u64() } else { 0 };
        let now = Now {
            mono: Instant(1_000_000),
            wall: 1_700_000_000_000_000,
        };
        let restored = Restored {
            peers,
            clock,
            ..Restored::default()
        };
        let node = Node::new(Arc::new(config), me, u64::from(shape), now, restored)
            .expect("the options are in their bounds");
        let (ledger, shelf) = (Ledger::default(), Shelf::default());
        Self {
            node,
            me,
            now,
            ledger,
            others,
            shelf,
            events: 0,
            observe,
        }
    }

    fn handle(&mut self, event: Event) -> Result<(), String> {
        self.events += 1;
        (self.observe)(Seen::Event(self.now, &event));
        let mut actions = Vec::new();
        self.node.handle(self.now, event, &mut actions);
        for action in &actions {
            (self.observe)(Seen::Action(action));
        }
        self.ledger.enter(self.now, self.me, actions)?;
        self.node.check().map_err(|broken| broken.to_string())
    }

    fn advance(&mut self, by: Micros) {
        let mono = self.now.mono + by;
        self.now.mono = mono.min(Instant(MONO_MAX)).max(self.now.mono);
        self.now.wall = self.now.wall.saturating_add(by.0);
    }

    fn step(&mut self, script: &mut Script<'_>) -> Result<(), String> {
        match script.byte() % 32 {
            0..=5 => {
                self.advance(Micros(u64::from(script.byte()) << 6));
                self.answer_truly(0)
            }
            6 | 7 => self.answer_all_truly(),
            8 => {
                let which = self.which(script);
                self.answer_truly(which)
            }
            9..=11 => self.answer_falsely(script),
            12 => {
                let which = self.which(script);
                if which < self.ledger.open.len() {
                    self.ledger.open.remove(which);
                }
                Ok(())
            }
            13 => self.answer_nothing_asked(script),
            14..=16 => self.wake_on_time(),
            17 => {
                let by = script.micros();
                self.advance(by);
                self.wake()
            }
            18 => {
                let by = script.micros();
                self.advance(by);
                Ok(())
            }
            19 => {
                self.now.wall = match script.byte() % 4 {
                    0 => script.u64(),
                    1 => self.now.wall.saturating_sub(script.micros().0),
                    _ => self.now.wall.saturating_add(script.micros().0),
                };
                Ok(())
            }
            20..=23 => {
                let ticket = self.ledger.mint(Owed::Finish);
                let command = script.command();
                self.handle(Event::Command { ticket, command })
            }
            24..=29 => self.request(script),
            30 => {
                let peer = script.peer();
                let change = script.change();
                self.handle(Event::Peer { peer, change })
            }
            _ => {
                self.others.toggle(script.byte());
                Ok(())
            }
        }
    }

    fn which(&self, script: &mut Script<'_>) -> usize {
        script.below(self.ledger.open.len().max(1))
    }

    /// A peer asks; now and then one whose life is over, or that has the node's own id.
    fn request(&mut self, script: &mut Script<'_>) -> Result<(), String> {
        let from = if script.rarely(8) {
            script.peer()
        } else {
            self.others.peer(1 + script.byte() % (MEMBERS - 1))
        };
        let terms = script.terms(self.now.mono);
        let mut request = script.request(self.now.mono);
        // Most peers name their own operations; some try those of others.
        if let Request::Put(write) = &mut request
            && write.operation.counter != 3
        {
            write.operation.gateway = from.id;
            write.operation.incarnation = from.incarnation;
        }
        let ticket = self.ledger.mint(Owed::Reply);
        self.handle(Event::Request {
            ticket,
            from,
            terms,
            request,
        })
    }

    /// Answers the open operation with that index as a sound host would.
    fn answer_truly(&mut self, index: usize) -> Result<(), String> {
        if index >= self.ledger.open.len() {
            return Ok(());
        }
        match self.ledger.open.remove(index) {
            Open::Call { op, to, request } => {
                let callee = self.others.callee(to);
                let result = callee.map(|callee| self.others.answer(self.now, callee, request));
                self.handle(Event::Answer { op, result })
            }
            Open::Store { op, command } => {
                let result = Ok(self.shelf.execute(command));
                self.handle(Event::Stored { op, result })
            }
        }
    }

    /// Answers everything, and what that causes, a few rounds long.
    fn answer_all_truly(&mut self) -> Result<(), String> {
        for _ in 0..32 {
            if self.ledger.open.is_empty() {
                break;
            }
            self.advance(Micros(500));
            self.answer_truly(0)?;
        }
        Ok(())
    }

    fn answer_falsely(&mut self, script: &mut Script<'_>) -> Result<(), String> {
        let which = self.which(script);
        if which >= self.ledger.open.len() {
            return Ok(());
        }
        let event = match self.ledger.open.remove(which) {
            Open::Call { op, .. } if script.bool() => Event::Answer {
                op,
                result: Ok(script.response(self.now.mono)),
            },
            Open::Call { op, .. } => Event::Answer {
                op,
                result: Err(script.call_error()),
            },
            Open::Store { op, .. } => Event::Stored {
                op,
                result: script.store_result(self.now.mono),
            },
        };
        self.handle(event)
    }

    /// An answer that comes late, comes again, or to what was never asked.
    fn answer_nothing_asked(&mut self, script: &mut Script<'_>) -> Result<(), String> {
        let (op, asked) = self.ledger.some_op(script.u64());
        self.ledger.open.retain(|open| open.op() != op);
        // Whoever carried an operation knows which kind it was.
        let event = if asked.map_or(script.bool(), |asked| asked == Asked::Peer) {
            Event::Answer {
                op,
                result: Ok(script.response(self.now.mono)),
            }
        } else {
            Event::Stored {
                op,
                result: script.store_result(self.now.mono),
            }
        };
        self.handle(event)
    }

    fn wake_on_time(&mut self) -> Result<(), String> {
        if let Some(deadline) = self.node.next_deadline() {
            self.advance(deadline.since(self.now.mono));
        }
        self.wake()
    }

    /// Wakes the node until its next deadline lies ahead.
    fn wake(&mut self) -> Result<(), String> {
        for _ in 0..SPINS_MAX {
            self.handle(Event::Wake)?;
            match self.node.next_deadline() {
                Some(deadline) if deadline <= self.now.mono => {}
                Some(_) | None => return Ok(()),
            }
        }
        Err(format!(
            "{SPINS_MAX} wakes at {:?} and still a deadline there",
            self.now.mono
        ))
    }

    /// No peer answers any more; the store may. Every ticket must come home all the same.
    fn end(&mut self, script: &mut Script<'_>) -> Result<(), String> {
        let manner = script.byte();
        if manner % 2 == 1 {
            let ticket = self.ledger.mint(Owed::Finish);
            self.handle(Event::Command {
                ticket,
                command: Command::Leave,
            })?;
        }
        let store_answers = manner & 2 == 0;
        let end = self.now.mono + END;
        let mut wakes = 0;
        while !self.ledger.owed().is_empty() && self.now.mono < end {
            while let Some(at) = self
                .ledger
                .open
                .iter()
                .position(|open| store_answers && matches!(open, Open::Store { .. }))
            {
                self.answer_truly(at)?;
            }
            self.ledger.open.clear();
            if self.node.next_deadline().is_none() {
                break;
            }
            self.wake_on_time()?;
            wakes += 1;
            if wakes > END_WAKES_MAX {
                return Err(format!(
                    "{wakes} wakes in {:?}",
                    self.now.mono.since(end - END)
                ));
            }
        }
        match self.ledger.owed().first_key_value() {
            Some((ticket, owed)) => Err(format!(
                "no {owed:?} for {ticket:?} and {} more",
                self.ledger.owed().len() - 1
            )),
            None => Ok(()),
        }
    }
}
