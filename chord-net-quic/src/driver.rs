//! The loop that drives a host: its nodes, its connections, its store.
//!
//! ```text
//! handles ── Ask ──▶ ┌────────┐ ── Event ──▶ nodes ── Action ──▶ ┐
//! links ── Heard ──▶ │ driver │ ◀────────────── store, peers ◀── ┘
//! store ── Report ─▶ │        │ ── Effect ─▶ links, endpoint
//! clock ───────────▶ └────────┘
//! ```
//!
//! Everything that decides runs here, on one thread, without locks and without waiting: what
//! takes time is given to a task, and its end comes back as an event. What comes in is taken
//! in batches; frames for one connection leave in one piece at the end of a batch.
//!
//! **Invariant:** the inbox is drained before a node is woken by time.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use chord_core::event::{Action, Command, Event, Failure, Outcome};
use chord_core::id::Id;
use chord_core::node::Node;
use chord_core::peer::Addr;
use chord_core::time::{Instant, Micros, Now};
use tokio::sync::{mpsc, oneshot};

use crate::api::{Duplicate, Held, HostStatus, Shutdown, Stopped};
use crate::clock;
use crate::driver::board::Board;
use crate::driver::inventory::Inventory;
use crate::driver::superseded::Superseded;
use crate::driver::tickets::{Origin, Tickets};
use crate::endpoint::Endpoint;
use crate::identity::Identity;
use crate::lines::Lines;
use crate::link::{Heard, Line};
use crate::peers::{Code, LinkId, Peers};
use crate::state::State;
use crate::store::{Broken, Report, Room, Store};

pub(crate) mod board;
mod chores;
mod execute;
mod inventory;
mod notices;
mod seeds;
pub(crate) mod start;
mod superseded;
mod tickets;

/// Most taken from one inbox before the nodes' actions are carried out.
const BATCH: usize = 256;
/// Pace of looking after the data directory and the certificates.
const CHORES: Micros = Micros::from_secs(5);
/// How soon a change of the neighbours is written to the data directory: several come
/// together.
const REMEMBER_SOON: Micros = Micros::from_millis(100);
/// At the end: how long to wait until the last frames were taken by their peers.
const LAST_WORDS: Micros = Micros::from_millis(500);
/// With a broken store: how long the leave may take.
const FAREWELL: Micros = Micros::from_secs(2);
/// At the end: how long to wait until the peers know that the connections are closed.
const GOODBYE: Duration = Duration::from_millis(500);

/// What handles ask of the driver.
#[derive(Debug)]
pub(crate) enum Ask {
    /// Something of the host's first position.
    Command {
        command: Command,
        answer: oneshot::Sender<Result<Outcome, Failure>>,
    },
    /// All positions are to join through these.
    Join { seeds: Vec<Addr> },
    /// How is the host?
    Status {
        answer: oneshot::Sender<Result<HostStatus, Failure>>,
    },
    /// Which live records does the host hold, up to so many bytes?
    List {
        bytes: usize,
        answer: oneshot::Sender<Result<Held, Failure>>,
    },
    /// Where does the host of a position serve clients, as far as it has said so?
    Service {
        of: Id,
        answer: oneshot::Sender<Option<SocketAddr>>,
    },
    /// All positions are to leave, then the host ends.
    Leave { answer: oneshot::Sender<Shutdown> },
    /// The trusted authorities or the lists of the revoked have changed.
    Verify,
}

/// One host.
#[derive(Debug)]
pub(crate) struct Driver {
    nodes: Vec<Node>,
    /// Which of them are members.
    members: Vec<bool>,
    peers: Peers,
    lines: HashMap<LinkId, Line>,
    endpoint: Endpoint,
    store: Box<dyn Store>,
    tickets: Tickets,
    inventory: Inventory,
    /// Events for nodes, by position.
    queue: VecDeque<(u16, Event)>,
    actions: Vec<Action>,
    identity: Identity,
    state: Option<Arc<State>>,
    board: Arc<Board>,
    /// Lines about two processes with one certificate.
    alarms: Lines,
    started: Instant,
    next_chores: Instant,
    next_warnings: Instant,
    leaving: Option<Leaving>,
    /// Others take another process for a later life of this host.
    superseded: Option<Superseded>,
    /// What is known of another process with our certificate.
    duplicate: Option<Duplicate>,
    /// What the store last said of the disk.
    room: Room,
    /// The store is of no use any more, and how long the leave may take.
    broken: Option<(Broken, Instant)>,
    /// The host ends for this reason once the current batch is done.
    ending: Option<Stopped>,
}

/// A leave under way.
#[derive(Debug)]
struct Leaving {
    waiting: Vec<oneshot::Sender<Shutdown>>,
    nodes_left: usize,
    total: Shutdown,
    /// All nodes have left; the connections are closed by then.
    last_words: Option<Instant>,
}

impl Driver {
    /// Drives the host until it ends, and says why.
    pub(crate) async fn run(
        mut self,
        mut asks: mpsc::Receiver<Ask>,
        mut inbox: mpsc::Receiver<Heard>,
        mut reports: mpsc::UnboundedReceiver<Report>,
    ) -> Stopped {
        let (mut asked, mut heard) = (Vec::with_capacity(BATCH), Vec::with_capacity(BATCH));
        self.warn_of_dates(clock::mono());
        let mut wake_at = self.next_deadline();
        let sleep = tokio::time::sleep_until(clock::at(wake_at));
        tokio::pin!(sleep);
        loop {
            self.settle(clock::now());
            if let Some(why) = self.ending.take() {
                return self.end(why).await;
            }
            let next = self.next_deadline();
            if next != wake_at {
                wake_at = next;
                sleep.as_mut().reset(clock::at(wake_at));
            }
            tokio::select! {
                count = asks.recv_many(&mut asked, BATCH) => {
                    if count == 0 {
                        return Stopped::Killed; // Every handle is gone.
                    }
                }
                count = inbox.recv_many(&mut heard, BATCH) => {
                    debug_assert!(count > 0, "the endpoint holds a sender");
                }
                // None: the store answers at once and has no way to report.
                Some(report) = reports.recv() => self.reported(report, clock::now()),
                () = &mut sleep => wake_at = Instant(0),
            }
            take_more(&mut asks, &mut asked);
            take_more(&mut inbox, &mut heard);
            let now = clock::now();
            while let Ok(report) = reports.try_recv() {
                self.reported(report, now);
            }
            asked.drain(..).for_each(|ask| self.ask(ask, now));
            heard.drain(..).for_each(|heard| self.hear(heard, now.mono));
            self.settle(now);
            self.wake(clock::now());
        }
    }

    /// Handles events and carries out actions until nothing is left to do.
    fn settle(&mut self, now: Now) {
        loop {
            while let Some((position, event)) = self.queue.pop_front() {
                self.handle(position, event, now);
            }
            while let Some(effect) = self.peers.effects.pop_front() {
                self.carry_out(effect, now);
            }
            if self.queue.is_empty() {
                self.store.flush();
                self.peers.flush();
                if self.peers.effects.is_empty() {
                    break;
                }
            }
        }
        self.show();
    }

    fn handle(&mut self, position: u16, event: Event, now: Now) {
        let Some(node) = self.nodes.get_mut(usize::from(position)) else {
            return;
        };
        let mut actions = std::mem::take(&mut self.actions);
        node.handle(now, event, &mut actions);
        for action in actions.drain(..) {
            self.execute(position, action, now);
        }
        self.actions = actions;
    }

    /// Lets time pass for whoever waits for it.
    fn wake(&mut self, now: Now) {
        for (position, node) in self.nodes.iter().enumerate() {
            if node
                .next_deadline()
                .is_some_and(|deadline| deadline <= now.mono)
            {
                let position = u16::try_from(position).expect("at most POSITIONS_MAX");
                self.queue.push_back((position, Event::Wake));
            }
        }
        if self.peers.next_deadline() <= now.mono {
            self.peers.tend(now.mono);
        }
        if self.next_chores <= now.mono {
            self.next_chores = now.mono + CHORES;
            self.chores(now.mono);
        }
        if let Some(Leaving {
            last_words: Some(until),
            ..
        }) = &self.leaving
        {
            let said = self.peers.all_answered() && self.lines.values().all(Line::is_written);
            if said || *until <= now.mono {
                self.ending = Some(self.why_left());
            }
        }
        if self
            .broken
            .as_ref()
            .is_some_and(|(_, until)| *until <= now.mono)
        {
            self.ending = Some(self.why_left());
        }
        self.give_way(now.mono);
    }

    /// Left because it was asked to, or because its store broke.
    fn why_left(&self) -> Stopped {
        match &self.broken {
            None => Stopped::Left,
            Some((Broken::Failed(cause), _)) => Stopped::Store(cause.clone()),
            Some((Broken::Damaged(cause), _)) => Stopped::Damaged {
                why: cause.clone(),
                alone: self.known().iter().all(|node| node.peers.is_empty()),
            },
        }
    }

    fn next_deadline(&self) -> Instant {
        let nodes = self.nodes.iter().filter_map(Node::next_deadline).min();
        let last_words = self.leaving.as_ref().and_then(|leaving| leaving.last_words);
        let broken = self.broken.as_ref().map(|(_, until)| *until);
        let superseded = self.superseded.as_ref().map(|superseded| superseded.until);
        let own = self.next_chores.min(self.peers.next_deadline());
        [nodes, last_words, broken, superseded]
            .into_iter()
            .flatten()
            .fold(own, Instant::min)
    }

    fn ask(&mut self, ask: Ask, now: Now) {
        match ask {
            Ask::Command { command, answer } if self.is_outside(&command) => {
                let _ = answer.send(Err(Failure::NotMember)); // Or nobody waits any more.
            }
            Ask::Command { command, answer } => self.command(0, Origin::Command(answer), command),
            Ask::Status { answer } => self.command(0, Origin::Status(answer), Command::Status),
            Ask::Join { seeds } => {
                for position in self.positions() {
                    self.command(
                        position,
                        Origin::Join,
                        Command::Join {
                            seeds: seeds.clone(),
                        },
                    );
                }
            }
            Ask::List { bytes, answer } => self.list(bytes, answer, now),
            Ask::Service { of, answer } => {
                let _ = answer.send(self.peers.service_of(of)); // Or nobody waits any more.
            }
            Ask::Leave { answer } => self.leave(answer),
            Ask::Verify => {
                self.verify_peers(now.mono, true);
                self.warn_of_dates(now.mono);
            }
        }
    }

    fn command(&mut self, position: u16, origin: Origin, command: Command) {
        let ticket = self.tickets.mint(origin);
        self.queue
            .push_back((position, Event::Command { ticket, command }));
    }

    fn positions(&self) -> std::ops::Range<u16> {
        0..u16::try_from(self.nodes.len()).expect("at most POSITIONS_MAX")
    }

    fn leave(&mut self, answer: oneshot::Sender<Shutdown>) {
        if let Some(leaving) = &mut self.leaving {
            leaving.waiting.push(answer);
            return;
        }
        self.leave_all();
        if let Some(leaving) = &mut self.leaving {
            leaving.waiting.push(answer);
        }
    }

    /// Every position is to leave, unless they do already.
    fn leave_all(&mut self) {
        if self.leaving.is_some() {
            return;
        }
        self.leaving = Some(Leaving {
            waiting: Vec::new(),
            nodes_left: self.nodes.len(),
            total: Shutdown::default(),
            last_words: None,
        });
        for position in self.positions() {
            self.command(position, Origin::Leave, Command::Leave);
        }
    }

    /// One node has left, or could not.
    fn left(&mut self, result: &Result<Outcome, Failure>, now: Instant) {
        let Some(leaving) = &mut self.leaving else {
            return;
        };
        if let Ok(Outcome::Left {
            handed_over,
            remaining,
        }) = *result
        {
            leaving.total.handed_over += handed_over;
            leaving.total.remaining += remaining;
        }
        leaving.nodes_left = leaving.nodes_left.saturating_sub(1);
        if leaving.nodes_left == 0 {
            leaving.last_words = Some(now + LAST_WORDS);
        }
    }

    /// Ends the host in order: everybody hears it, and the data directory is up to date.
    async fn end(mut self, why: Stopped) -> Stopped {
        self.remember();
        self.endpoint.close(Code::Shutdown, GOODBYE).await;
        if let Some(leaving) = self.leaving {
            for waiting in leaving.waiting {
                let _ = waiting.send(leaving.total);
            }
        }
        why
    }

    fn show(&mut self) {
        self.peers.counters.connections = self.peers.open() as u64;
        self.board.show(&self.peers.counters);
    }
}

/// Whatever else is there, up to a batch.
fn take_more<T>(inbox: &mut mpsc::Receiver<T>, batch: &mut Vec<T>) {
    while batch.len() < BATCH {
        match inbox.try_recv() {
            Ok(item) => batch.push(item),
            Err(_) => return,
        }
    }
}
