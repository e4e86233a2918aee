//! A cluster of real processes: an authority, members with a certificate and an INI file each.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::http::Http;
use super::process::{self, Process, tail};
use super::{ports, tcp::Tcp, until};

/// Longest wait of a test client for one read or write: above every gate, so that a gate is
/// missed by measurement and not by a broken connection.
pub const CLIENT_TIMEOUT: Duration = Duration::from_secs(8);

/// One cluster at a time in a test binary: gates are about time, and cores are few.
static TURN: Mutex<()> = Mutex::new(());

/// A member: what it is told, and its process while it has one.
pub struct Member {
    /// Its name, and that of its files.
    pub name: String,
    /// Port for other nodes.
    pub p2p: u16,
    /// Port of the binary client protocol.
    pub api: u16,
    /// Port of the HTTP API.
    pub web: u16,
    /// Its ring id, as its certificate says.
    pub id: String,
    /// Its process.
    pub process: Option<Process>,
}

/// All of them, in one temporary directory.
pub struct Cluster {
    dir: TempDir,
    /// The members, the founder first.
    pub members: Vec<Member>,
    /// Further flags of every start.
    pub flags: Vec<String>,
    _turn: Option<MutexGuard<'static, ()>>,
}

impl Cluster {
    /// An authority and `count` members with certificates and configurations; none runs yet.
    pub fn new(count: usize) -> Self {
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        Self::make(count, Some(turn))
    }

    /// The same without waiting for other clusters: where nothing but the truth is measured.
    pub fn beside(count: usize) -> Self {
        Self::make(count, None)
    }

    fn make(count: usize, turn: Option<MutexGuard<'static, ()>>) -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        process::expect(
            dir.path(),
            0,
            &["ca", "init", "--dir", "ca", "--cluster", "test.example"],
        );
        let mut cluster = Self {
            dir,
            members: Vec::new(),
            flags: Vec::new(),
            _turn: turn,
        };
        for _ in 0..count {
            cluster.add();
        }
        cluster
    }

    /// The directory of all files.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Issues a certificate and writes a configuration for one more member.
    pub fn add(&mut self) -> usize {
        let name = format!("n{}", self.members.len() + 1);
        let dir = self.dir.path();
        process::expect(
            dir,
            0,
            &["cert", "issue", "--ca", "ca", "--name", &name, "--out", "."],
        );
        let shown = process::expect(dir, 0, &["cert", "show", "--json", &format!("{name}.pem")]);
        let shown: serde_json::Value = serde_json::from_str(&shown).expect("a JSON document");
        let id = shown["id"]
            .as_str()
            .expect("a node has a ring id")
            .to_owned();
        let (p2p, api, web) = (ports::free(), ports::free(), ports::free());
        let bootstrap = self.members.first().map_or_else(String::new, |founder| {
            format!("bootstrap = 127.0.0.1:{}\n", founder.p2p)
        });
        let ini = format!(
            "; written by a test\n[dht]\np2p_address = 127.0.0.1:{p2p}\napi_address = 127.0.0.1:{api}\n\
             web_address = 127.0.0.1:{web}\n{bootstrap}cert = {name}.pem\nkey = {name}.key\n\
             ca = ca/ca.pem\ncrl = ca/ca.crl\ndata_dir = ./{name}.data\n"
        );
        std::fs::write(dir.join(format!("{name}.ini")), ini).expect("a file can be written");
        self.members.push(Member {
            name,
            p2p,
            api,
            web,
            id,
            process: None,
        });
        self.members.len() - 1
    }

    /// Starts a member's process; it is not waited for.
    pub fn start(&mut self, at: usize) {
        self.start_with(at, &[]);
    }

    /// Starts a member's process with further flags; it is not waited for.
    pub fn start_with(&mut self, at: usize, flags: &[&str]) {
        let dir = self.dir.path().to_path_buf();
        let member = &mut self.members[at];
        let ini = format!("{}.ini", member.name);
        let log = self.dir.path().join(format!("{}.log", member.name));
        let usual: Vec<&str> = self.flags.iter().map(String::as_str).collect();
        let arguments = [&["node", "run", "-c", &ini], &usual[..], flags].concat();
        member.process = Some(Process::start(&dir, &arguments, log));
    }

    /// Starts a member and waits until it is one.
    pub fn start_and_wait(&mut self, at: usize) {
        self.start(at);
        self.await_ready(at, Duration::from_secs(10));
    }

    /// Waits until `/readyz` of a member says 200, and says how long that took.
    pub fn await_ready(&mut self, at: usize, deadline: Duration) -> Duration {
        let mut http = self.http(at);
        let what = format!("{} becomes ready", self.members[at].name);
        let begin = Instant::now();
        loop {
            let seen = match http.ask("GET", "/readyz", b"") {
                Ok((200, _)) => return begin.elapsed(),
                Ok((status, body)) => format!("{status} {}", String::from_utf8_lossy(&body)),
                Err(error) => error.to_string(),
            };
            let alive = self.members[at]
                .process
                .as_mut()
                .is_some_and(Process::is_running);
            assert!(alive, "{what}: its process has ended\n{}", self.logs());
            assert!(
                begin.elapsed() < deadline,
                "{what}: {seen}\n{}",
                self.logs()
            );
            std::thread::sleep(super::POLL);
        }
    }

    /// Ends a member as `kill -9` does.
    pub fn kill(&mut self, at: usize) {
        self.members[at].process.take().expect("it runs").kill();
    }

    /// A member's process.
    pub fn process(&mut self, at: usize) -> &mut Process {
        self.members[at].process.as_mut().expect("it runs")
    }

    /// Runs `ring check` through a member until it says yes with exactly `count` members, and
    /// says how long that took.
    pub fn await_ring(&self, through: usize, count: usize, deadline: Duration) -> Duration {
        let begin = Instant::now();
        loop {
            let (code, said) = self.ring_check(through);
            let document: serde_json::Value = serde_json::from_str(&said).unwrap_or_default();
            let members = document["members"].as_array().map_or(0, Vec::len);
            if code == Some(0) && members == count {
                return begin.elapsed();
            }
            assert!(
                begin.elapsed() < deadline,
                "no right ring of {count} within {deadline:?}: exit code {code:?}, {members} members\n{said}\n{}",
                self.logs()
            );
            std::thread::sleep(super::POLL);
        }
    }

    /// Exit code and document of `ring check --json` through a member.
    pub fn ring_check(&self, through: usize) -> (Option<i32>, String) {
        let node = self.url(through);
        let output = process::run(self.dir(), &["ring", "check", "--json", "--node", &node]);
        let text = [output.stdout, output.stderr].concat();
        (
            output.status.code(),
            String::from_utf8_lossy(&text).into_owned(),
        )
    }

    /// Waits until no member misses copies or has unsettled spans, and all together hold at
    /// least `copies` records; says how long that took.
    pub fn await_repair(&self, copies: usize, deadline: Duration) -> Duration {
        let running: Vec<usize> = (0..self.members.len())
            .filter(|&at| self.members[at].process.is_some())
            .collect();
        let (_, took) = until("all copies are where they belong", deadline, || {
            let mut held = 0;
            for &at in &running {
                let status = self.status(at)?;
                if status["copies_missing"] != 0 || status["spans_unsettled"] != 0 {
                    return Err(format!("{}: {status}", self.members[at].name));
                }
                held += status["records"].as_u64().unwrap_or(0);
            }
            if held < copies as u64 {
                return Err(format!("{held} of {copies} copies"));
            }
            Ok(())
        });
        took
    }

    /// The document of `/v1/status` of a member.
    ///
    /// # Errors
    /// Why there is none.
    pub fn status(&self, at: usize) -> Result<serde_json::Value, String> {
        let (_, body) = self
            .http(at)
            .ask("GET", "/v1/status", b"")
            .map_err(|error| format!("{}: {error}", self.members[at].name))?;
        serde_json::from_slice(&body).map_err(|error| error.to_string())
    }

    /// The URL of a member's HTTP API.
    pub fn url(&self, at: usize) -> String {
        format!("http://127.0.0.1:{}", self.members[at].web)
    }

    /// A client of a member's HTTP API.
    pub fn http(&self, at: usize) -> Http {
        Http::new(self.members[at].web, CLIENT_TIMEOUT)
    }

    /// A client of a member's binary port.
    pub fn tcp(&self, at: usize) -> Tcp {
        Tcp::connect(self.members[at].api, CLIENT_TIMEOUT).expect("the binary port answers")
    }

    /// What a member printed, in all its lives.
    pub fn log(&self, at: usize) -> String {
        let path: PathBuf = self
            .dir
            .path()
            .join(format!("{}.log", self.members[at].name));
        String::from_utf8_lossy(&std::fs::read(path).unwrap_or_default()).into_owned()
    }

    /// The ends of all logs, for messages of failed tests.
    pub fn logs(&self) -> String {
        let ends = (0..self.members.len())
            .map(|at| format!("── {} ──\n{}\n", self.members[at].name, tail(&self.log(at))));
        ends.collect()
    }
}
