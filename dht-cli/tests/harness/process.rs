//! Child processes that never outlive their test.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

/// The binary under test.
pub const BINARY: &str = env!("CARGO_BIN_EXE_dht-cli");

/// A running child whose output goes to a file.
pub struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts the binary in `dir`; standard output and error are appended to `log`.
    pub fn start(dir: &Path, arguments: &[&str], log: PathBuf) -> Self {
        let out = File::options()
            .create(true)
            .append(true)
            .open(&log)
            .expect("a log file");
        let err = out.try_clone().expect("a second handle of the log");
        let child = quiet(Command::new(BINARY))
            .args(arguments)
            .current_dir(dir)
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(err)
            .spawn()
            .expect("the binary starts");
        Self { child, log }
    }

    /// Everything it printed, in all its lives.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// Ends it as `kill -9` does.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Sends SIGKILL and does not wait for the end.
    pub fn strike(&mut self) {
        let _ = self.child.kill();
    }

    /// Sends a signal by name, such as `TERM`.
    pub fn signal(&self, name: &str) {
        // The standard library sends only SIGKILL; every shell has `kill` built in.
        let script = format!("kill -{name} {}", self.child.id());
        let done = Command::new("sh")
            .args(["-c", &script])
            .status()
            .expect("a shell");
        assert!(done.success(), "{script}");
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Waits for its end and says how long that took.
    ///
    /// # Panics
    /// When it still runs after `deadline`.
    pub fn wait(&mut self, deadline: Duration) -> (Option<i32>, Duration) {
        let begin = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("a child can be waited for") {
                return (status.code(), begin.elapsed());
            }
            assert!(
                begin.elapsed() < deadline,
                "still running after {deadline:?}:\n{}",
                tail(&self.log())
            );
            std::thread::sleep(super::POLL);
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Runs the binary to its end.
///
/// # Panics
/// When it takes longer than a minute: no command of these tests may.
pub fn run(dir: &Path, arguments: &[&str]) -> Output {
    let mut child = quiet(Command::new(BINARY))
        .args(arguments)
        .current_dir(dir)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    let begin = Instant::now();
    // Readers of their own, so that a child with much to say is not blocked by full pipes.
    let out = drain(child.stdout.take().expect("piped"));
    let err = drain(child.stderr.take().expect("piped"));
    let status: ExitStatus = loop {
        if let Some(status) = child.try_wait().expect("a child can be waited for") {
            break status;
        }
        if begin.elapsed() > Duration::from_secs(60) {
            let _ = child.kill();
            let _ = child.wait();
            panic!("dht-cli {arguments:?} still ran after a minute");
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    Output {
        status,
        stdout: out.join().expect("read"),
        stderr: err.join().expect("read"),
    }
}

/// Runs the binary and expects an exit code.
pub fn expect(dir: &Path, code: i32, arguments: &[&str]) -> String {
    let output = run(dir, arguments);
    let out = String::from_utf8_lossy(&output.stdout).into_owned();
    let err = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(
        output.status.code(),
        Some(code),
        "dht-cli {arguments:?}\n{out}\n{err}"
    );
    format!("{out}{err}")
}

/// The last lines of a text.
pub fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(40)..].join("\n")
}

/// A command that no setting of the machine it runs on can change.
fn quiet(mut command: Command) -> Command {
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("DHT_") {
            command.env_remove(name);
        }
    }
    command.env("NO_COLOR", "1");
    command
}

fn drain(mut source: impl std::io::Read + Send + 'static) -> std::thread::JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = source.read_to_end(&mut bytes);
        bytes
    })
}
