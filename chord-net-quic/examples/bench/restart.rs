//! How long a node with 1 GiB of records takes from its start until it serves again, after a
//! stop in order and after kill -9.
//!
//! Three nodes, 3 copies, records of 4 KiB: each node holds them all. One is a process of its
//! own; it leaves or is killed, its file is taken out of the page cache, some records are
//! overwritten meanwhile, and it is started again in its directory. It serves when it is a
//! member, all its spans are settled, and a read of a record that it owns is answered. Three
//! times each; the slowest counts.

use std::fs::File;
use std::io::{BufRead, BufReader, Lines, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use chord_core::config::Config;
use chord_net_quic::Node;
use chord_net_quic::identity::{self, IdChoice, Identity, IdentityFiles};

use crate::figure::Figures;
use crate::ground::Ground;
use crate::ring::{self, Failed, PATIENCE, POLL, Ring, get, put, told};

const BYTES: usize = 4_096;
/// Records overwritten while the node is away.
const OVERWRITTEN: u32 = 200;
const REPETITIONS: usize = 3;
/// Gate of the design, in seconds.
const SERVING_WITHIN: f64 = 2.0;
/// The first argument of the process that is the node.
pub(crate) const AS_NODE: &str = "as-node";

pub(crate) async fn run(ground: &Ground, mib: u32, figures: &mut Figures) -> Result<(), Failed> {
    let mut ring = Ring::new(ground.path().to_owned(), Config::default())?;
    ring.grow(2).await?;
    let mut process = Process::prepare(&mut ring, ground.path())?;
    process.start()?;
    let records = mib * (1 << 20) / BYTES as u32;
    let begin = Instant::now();
    ring.fill(records, BYTES).await?;
    let took = begin.elapsed().as_secs_f64();
    println!("{records} records of {BYTES} bytes written in {took:.1} s");
    process.wait_for(records).await?;

    for (how, in_order) in [("a stop in order", true), ("kill -9", false)] {
        let mut slowest: f64 = 0.0;
        for _ in 0..REPETITIONS {
            process.end(in_order)?;
            for n in 0..OVERWRITTEN {
                put(&ring.nodes[0], n, BYTES).await?;
            }
            let bytes = process.evict()?;
            let took = process.start()?.as_secs_f64();
            println!(
                "serving {took:.2} s after {how}, a file of {} MiB",
                bytes >> 20
            );
            slowest = slowest.max(took);
            process.wait_for(records).await?;
        }
        let what = format!("seconds to serving after {how}");
        figures.at_most(&what, slowest, SERVING_WITHIN);
    }
    process.end(false)?;
    for node in &ring.nodes {
        node.kill();
    }
    Ok(())
}

/// The node that is a process of its own.
struct Process {
    dir: PathBuf,
    authority: PathBuf,
    listen: SocketAddr,
    join: SocketAddr,
    running: Option<(Child, Lines<BufReader<ChildStdout>>)>,
}

impl Process {
    fn prepare(ring: &mut Ring, ground: &Path) -> Result<Self, Failed> {
        let (name, issued) = ring.issue(IdChoice::Spread)?;
        let dir = ground.join(name);
        std::fs::create_dir(&dir)?;
        issued.save(&dir, "node")?;
        Ok(Self {
            dir,
            authority: ring.authority(),
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            join: ring.nodes[0].addr(),
            running: None,
        })
    }

    /// Starts it and waits until it serves; says how long that took.
    fn start(&mut self) -> Result<Duration, Failed> {
        let begin = Instant::now();
        let mut child = Command::new(std::env::current_exe()?)
            .arg(AS_NODE)
            .args([&self.dir, &self.authority])
            .args([self.listen.to_string(), self.join.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let out = child.stdout.take().ok_or("no output")?;
        self.running = Some((child, BufReader::new(out).lines()));
        self.listen = self.line()?.parse()?;
        let serving = self.line()?;
        match serving.as_str() {
            "serving" => Ok(begin.elapsed()),
            other => Err(format!("the node said: {other}").into()),
        }
    }

    fn line(&mut self) -> Result<String, Failed> {
        let (_, lines) = self.running.as_mut().ok_or("the node does not run")?;
        Ok(lines.next().ok_or("the node has ended")??)
    }

    fn ask(&mut self, what: &str) -> Result<String, Failed> {
        let (child, _) = self.running.as_mut().ok_or("the node does not run")?;
        let input = child.stdin.as_mut().ok_or("no input")?;
        writeln!(input, "{what}")?;
        self.line()
    }

    /// Waits until it holds so many records.
    async fn wait_for(&mut self, records: u32) -> Result<(), Failed> {
        let begin = Instant::now();
        while self.ask("records")?.parse::<u32>()? != records {
            if begin.elapsed() > PATIENCE * 4 {
                return Err("the node does not get all records".into());
            }
            tokio::time::sleep(POLL).await;
        }
        Ok(())
    }

    fn end(&mut self, in_order: bool) -> Result<(), Failed> {
        if in_order {
            println!("{}", self.ask("leave")?);
        }
        let (mut child, _) = self.running.take().ok_or("the node does not run")?;
        if !in_order {
            child.kill()?;
        }
        child.wait()?;
        Ok(())
    }

    /// Takes its store out of the page cache, as after a restart of the machine; its length.
    fn evict(&self) -> Result<u64, Failed> {
        let file = File::open(self.dir.join("store.redb"))?;
        file.sync_all()?;
        rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed)?;
        Ok(file.metadata()?.len())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Some((mut child, _)) = self.running.take() {
            let _ = child.kill(); // It may have ended.
            let _ = child.wait();
        }
    }
}

/// The other process: a node that says when it serves, and does as it is asked.
pub(crate) async fn be_node(arguments: &[String]) -> Result<(), Failed> {
    let [dir, authority, listen, join] = arguments else {
        return Err("four arguments".into());
    };
    let (dir, authority) = (PathBuf::from(dir), PathBuf::from(authority));
    let files = IdentityFiles {
        ca: authority.join("ca.pem"),
        cert: dir.join("node.pem"),
        key: dir.join("node.key"),
        crl: authority.join("ca.crl"),
        crl_strict: false,
    };
    let identity = Identity::load(&files, identity::now())?;
    let config = ring::config(identity, dir, listen.parse()?, Some(join.clone()));
    let node = Node::start(config).await?;
    println!("{}", node.addr());
    node.joined().await?;
    let owned = loop {
        let status = node.status().await.map_err(told)?.node;
        match status.owned {
            Some(owned) if status.spans_unsettled == 0 => break owned,
            _ => tokio::time::sleep(Duration::from_millis(5)).await,
        }
    };
    let is_owned = |n: &u32| owned.contains(ring::key(*n).position());
    let one = (0..).find(is_owned).ok_or("it owns something")?;
    if node.status().await.map_err(told)?.records > 0 {
        get(&node, one, BYTES).await?;
    }
    println!("serving");
    for line in std::io::stdin().lines() {
        match line?.as_str() {
            "records" => println!("{}", node.status().await.map_err(told)?.records),
            _ => {
                println!("{:?}", node.shutdown().await);
                break;
            }
        }
    }
    Ok(())
}
