//! `demo`: the whole story in one go, with nothing to set up.
//!
//! ```text
//! authority (in memory) ── a certificate each ──▶ nodes on 127.0.0.1, ports of the system
//! nodes ── QUIC, mutual TLS ──▶ one ring          checked by the rules of `ring check`
//! keys ── written through one node, read through another, one looked up hop by hop
//! the owner of that key ── killed without goodbye ──▶ read at once, heal, check, read again
//! ```
//!
//! Nothing is simulated: these are the nodes that `node run` runs. Every wait has a deadline,
//! and each step that misses its goal is named in the verdict.

mod world;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use chord_core::id::Id;
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use self::world::{Reads, World};
use super::lookup;
use crate::accept::Acceptor;
use crate::documents::HopDocument;
use crate::exit::{Exit, Stop};
use crate::http::{self, About};
use crate::metrics::{Metrics, Server};
use crate::term::{self, Paint};

/// Time for the ring to form, and to heal: many times what either takes.
const PATIENCE: Duration = Duration::from_secs(20);

/// Run a ring on this machine: real nodes, real QUIC, real certificates, one crash
#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  dht-cli demo\n  dht-cli demo --nodes 12 --keys 1000 --stay\n\n\
    Exit code 0 if every key survived and the ring healed, else 5."
)]
pub(super) struct Args {
    /// Nodes
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u16).range(3..=64))]
    nodes: u16,
    /// Keys
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    keys: u32,
    /// Leave the ring running and print its addresses; Ctrl-C ends it
    #[arg(long)]
    stay: bool,
    /// Print a JSON document instead of the story
    #[arg(long)]
    json: bool,
}

/// What `demo --json` prints.
#[derive(Serialize)]
struct Verdict {
    ok: bool,
    nodes: u16,
    keys: u32,
    readable_before: u32,
    readable_during: u32,
    readable_after: u32,
    ring_seconds: f64,
    heal_seconds: f64,
    slowest_read_ms: f64,
    seconds: f64,
    failures: Vec<String>,
}

pub(super) fn run(args: &Args) -> Result<Exit, Stop> {
    super::block_on(async {
        let begin = Instant::now();
        let mut story = Story::new(args.json);
        story.title(&format!(
            "A Chord ring on this machine: {} nodes, {} keys",
            args.nodes, args.keys
        ))?;
        let mut world = World::prepare(args.nodes, args.keys)?;
        let verdict = tell(&mut world, &mut story, args, begin).await?;
        if args.json {
            term::json(&verdict)?;
        } else {
            term::line(closing(&verdict, story.paint))?;
        }
        if args.stay {
            stay(&world, args.json).await?;
        }
        world.end();
        Ok(if verdict.ok {
            Exit::Done
        } else {
            Exit::Violation
        })
    })
}

/// The steps, in their order.
async fn tell(
    world: &mut World,
    story: &mut Story,
    args: &Args,
    begin: Instant,
) -> Result<Verdict, Stop> {
    story.step(
        "authority",
        "a private certificate authority, a certificate with a random ring id each",
    )?;

    world.start(PATIENCE).await?;
    story.step(
        "nodes",
        &format!("{} nodes on QUIC with mutual TLS", args.nodes),
    )?;
    story.detail(&world.population())?;

    let formed = world.await_ring(PATIENCE).await;
    story.ring("ring", args.nodes, "", &formed)?;

    world.write_all().await?;
    story.step(
        "write",
        &format!(
            "{} keys, each through one node, kept by 3 holders",
            args.keys
        ),
    )?;

    let before = world.read_all(PATIENCE).await?;
    story.reads("read", "each through another node", args.keys, &before)?;

    let traced = world.trace().await?;
    story.step(
        "lookup",
        &format!(
            "who owns {:?}? {:.8} at {}",
            traced.key, traced.owner.id, traced.owner.addr
        ),
    )?;
    let hops: Vec<HopDocument> = traced.hops.iter().map(HopDocument::from).collect();
    if hops.is_empty() {
        story.detail("no hops: the asking node owns it")?;
    } else {
        story.detail(&lookup::trace(&hops))?;
    }

    let killed: Id = world.kill(traced.owner.id)?;
    story.step(
        "crash",
        &format!("{killed:.8}, the owner of that key, killed without goodbye"),
    )?;
    let crash = Instant::now();

    let during = world.read_all(PATIENCE).await?;
    story.reads("read", "at once, through other nodes", args.keys, &during)?;

    let healed = world.await_ring(PATIENCE).await;
    let heal_seconds = crash.elapsed().as_secs_f64();
    let after = format!(", {:.0} ms after the crash", heal_seconds * 1e3);
    story.ring("heal", args.nodes - 1, &after, &healed)?;

    let after = world.read_all(PATIENCE).await?;
    story.reads("read", "through other nodes", args.keys, &after)?;

    let mut failures = Vec::new();
    failures.extend(
        formed
            .wrong
            .iter()
            .map(|what| format!("the ring did not form: {what}")),
    );
    failures.extend(
        healed
            .wrong
            .iter()
            .map(|what| format!("the ring did not heal: {what}")),
    );
    for reads in [&before, &during, &after] {
        failures.extend(reads.wrong.iter().cloned());
    }
    Ok(Verdict {
        ok: failures.is_empty(),
        nodes: args.nodes,
        keys: args.keys,
        readable_before: before.identical,
        readable_during: during.identical,
        readable_after: after.identical,
        ring_seconds: formed.took.as_secs_f64(),
        heal_seconds,
        slowest_read_ms: before
            .slowest
            .max(during.slowest)
            .max(after.slowest)
            .as_secs_f64()
            * 1e3,
        seconds: begin.elapsed().as_secs_f64(),
        failures,
    })
}

fn closing(verdict: &Verdict, paint: Paint) -> String {
    if verdict.ok {
        let text = format!(
            "\n{}  every key survived, the ring healed",
            paint.good("PASS")
        );
        return format!("{text}, {:.1} s in all", verdict.seconds);
    }
    let mut text = format!("\n{}  after {:.1} s", paint.bad("FAIL"), verdict.seconds);
    for failure in verdict.failures.iter().take(10) {
        text.push_str(&format!("\n      {failure}"));
    }
    if verdict.failures.len() > 10 {
        text.push_str(&format!("\n      and {} more", verdict.failures.len() - 10));
    }
    text
}

/// Serves the surviving nodes' HTTP APIs until somebody interrupts.
async fn stay(world: &World, json: bool) -> Result<(), Stop> {
    const CONNECTIONS_MAX: usize = 256;
    let mut text = String::from("\nThe ring stays; Ctrl-C ends it.\n");
    for node in world.nodes() {
        let metrics = Arc::new(Metrics::new());
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let unbound = |error| Stop::failed(format!("cannot listen on {any}: {error}"));
        let acceptor = Acceptor::bind(
            Server::Http,
            any,
            None,
            CONNECTIONS_MAX,
            Arc::clone(&metrics),
        )
        .map_err(unbound)?;
        let url = format!("http://{}", acceptor.local_addr().map_err(unbound)?);
        text.push_str(&format!(
            "  {:.8}  QUIC {}  {url}\n",
            node.id(),
            node.addr()
        ));
        let about = About {
            store: "memory",
            ..About::default()
        };
        let served = http::serve(
            acceptor,
            node.clone(),
            about,
            metrics,
            CancellationToken::new(),
        );
        // It ends with the process; until then a failure to serve concerns this port alone.
        tokio::spawn(async move {
            if let Err(error) = served.await {
                term::say(format!("{url}: {error}"));
            }
        });
    }
    text.push_str("Try: dht-cli ring show --node URL");
    if json {
        term::say(text);
    } else {
        term::line(text)?;
    }
    std::future::pending().await
}

/// Prints the steps as they happen, each with the time since the one before.
struct Story {
    silent: bool,
    paint: Paint,
    step: u32,
    last: Instant,
}

impl Story {
    fn new(silent: bool) -> Self {
        Self {
            silent,
            paint: Paint::detect(),
            step: 0,
            last: Instant::now(),
        }
    }

    fn title(&self, text: &str) -> Result<(), Stop> {
        if self.silent {
            Ok(())
        } else {
            term::line(format!("{}\n", self.paint.bold(text)))
        }
    }

    fn step(&mut self, name: &str, text: &str) -> Result<(), Stop> {
        self.step += 1;
        let took = self.last.elapsed();
        self.last = Instant::now();
        if self.silent {
            return Ok(());
        }
        let time = self
            .paint
            .dim(&format!("{:>6.0} ms", took.as_secs_f64() * 1e3));
        term::line(format!(
            "{:>2}  {time}  {}  {text}",
            self.step,
            self.paint.bold(&format!("{name:<9}"))
        ))
    }

    fn detail(&self, text: &str) -> Result<(), Stop> {
        if self.silent {
            return Ok(());
        }
        let lines: Vec<String> = text
            .lines()
            .map(|line| format!("{:26}{line}", ""))
            .collect();
        term::line(lines.join("\n"))
    }

    fn reads(&mut self, name: &str, how: &str, keys: u32, reads: &Reads) -> Result<(), Stop> {
        let count = format!("{} of {keys} keys identical", reads.identical);
        let count = if reads.identical == keys {
            self.paint.good(&count)
        } else {
            self.paint.bad(&count)
        };
        let slowest = reads.slowest.as_secs_f64() * 1e3;
        self.step(
            name,
            &format!("{count}, {how}; the slowest took {slowest:.0} ms"),
        )
    }

    fn ring(
        &mut self,
        name: &str,
        nodes: u16,
        when: &str,
        formed: &world::Formed,
    ) -> Result<(), Stop> {
        if formed.wrong.is_empty() {
            let text = format!("one ring of {nodes} in order, all lists and predecessors right");
            return self.step(name, &format!("{}{when}", self.paint.good(&text)));
        }
        let text = format!(
            "not one ring of {nodes}: {} rules broken",
            formed.wrong.len()
        );
        self.step(name, &self.paint.bad(&text))?;
        self.detail(&formed.wrong.join("\n"))
    }
}
