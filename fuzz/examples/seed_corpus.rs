//! Writes the seeds of every corpus anew: `cargo run -p fuzz --example seed_corpus`.
//!
//! Frames are the golden ones and a few broken ones, client messages those of the protocol's
//! table and its mistakes, scripts the shortest of many random ones that between them make
//! a node do everything that any of them makes it do.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::fmt::Debug;
use std::fs;
use std::path::{Path, PathBuf};

use chord_core::event::{Action, Event};
use fuzz::node::Seen;

/// Scripts tried for the corpus of `node`.
const SCRIPTS: u64 = 20_000;
/// Seeds kept of them.
const KEPT: usize = 48;

fn main() -> Result<(), Box<dyn Error>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    write("wire", &frames(root)?)?;
    write("tcp", &streams())?;
    write("node", &scripts())
}

/// Replaces the seeds of a target; named inputs that are no seeds of ours stay.
fn write(target: &str, seeds: &BTreeMap<String, Vec<u8>>) -> Result<(), Box<dyn Error>> {
    let folder: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("corpus")
        .join(target);
    fs::create_dir_all(&folder)?;
    for entry in fs::read_dir(&folder)? {
        let path = entry?.path();
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        if name.starts_with("base-") {
            fs::remove_file(path)?;
        }
    }
    for (name, bytes) in seeds {
        fs::write(folder.join(format!("base-{name}.seed")), bytes)?;
    }
    println!("{target}: {} seeds", seeds.len());
    Ok(())
}

fn frames(root: &Path) -> Result<BTreeMap<String, Vec<u8>>, Box<dyn Error>> {
    let golden = fs::read_to_string(root.join("../chord-core/tests/golden/wire-v1.hex"))?;
    let mut seeds = BTreeMap::new();
    for line in golden.lines() {
        let (name, hex) = line.split_once(' ').ok_or("a line without a space")?;
        let digits = hex.as_bytes().chunks_exact(2);
        let bytes: Result<Vec<u8>, _> = digits
            .map(|pair| u8::from_str_radix(&String::from_utf8_lossy(pair), 16))
            .collect();
        seeds.insert(name.replace('/', "-"), bytes?);
    }
    let ping = seeds["request-ping-client"].clone();
    seeds.insert("empty".into(), vec![]);
    seeds.insert("other-version".into(), [&[2], &ping[1..]].concat());
    seeds.insert("half-a-ping".into(), ping[..ping.len() / 2].to_vec());
    seeds.insert(
        "ping-and-more".into(),
        [&ping[..], b"from a later version"].concat(),
    );
    Ok(seeds)
}

/// A first byte 0 sends all in one segment; else as many segment lengths follow.
fn streams() -> BTreeMap<String, Vec<u8>> {
    let key = b"lolz".repeat(8);
    let put = [&hex("002d028a00010100")[..], &key, b"bernd"].concat();
    let get = [&hex("0024028b")[..], &key].concat();
    let reserved = [&hex("002d028a00010177")[..], &key, b"bernd"].concat();
    let shortest = [&hex("0029028a00000000")[..], &key, b"b"].concat();
    let both = [&put[..], &get, &reserved, &shortest].concat();
    let cases: [(&str, &[u8], Vec<u8>); 16] = [
        ("put", &[0], put.clone()),
        ("get", &[0], get.clone()),
        ("reserved-byte", &[0], reserved),
        ("shortest-put", &[0], shortest),
        ("pipelined", &[0], both.clone()),
        ("pipelined-in-sevens", &[1, 7], both.clone()),
        ("pipelined-uneven", &[4, 3, 1, 40, 5], both.clone()),
        ("cut-header", &[0], put[..3].to_vec()),
        ("cut-body", &[1, 9], put[..30].to_vec()),
        ("success-from-a-client", &[0], hex("0029028c")),
        ("failure-from-a-client", &[0], hex("0024028d")),
        ("unknown-type", &[1, 2], hex("0024ffff")),
        (
            "get-too-long",
            &[0],
            [hex("0025028b"), key.clone(), vec![0]].concat(),
        ),
        ("get-too-short", &[0], hex("0000028b")),
        ("put-without-value", &[0], hex("0028028a")),
        (
            "good-then-bad",
            &[1, 5],
            [both, hex("0003028a"), get].concat(),
        ),
    ];
    let cases = cases.into_iter();
    cases
        .map(|(name, lengths, stream)| (name.into(), [lengths, &stream].concat()))
        .collect()
}

fn hex(digits: &str) -> Vec<u8> {
    let pairs = digits.as_bytes().chunks_exact(2);
    let byte = |pair| u8::from_str_radix(std::str::from_utf8(pair).expect("ASCII"), 16);
    pairs.map(|pair| byte(pair).expect("hex digits")).collect()
}

/// The shortest scripts that reach everything that any script tried reaches.
fn scripts() -> BTreeMap<String, Vec<u8>> {
    let mut tried: Vec<(Vec<u8>, BTreeSet<String>)> = Vec::new();
    let mut seen = BTreeSet::new();
    for n in 0..SCRIPTS {
        let script = script(n);
        let mut reached = BTreeSet::new();
        let mut cause = String::new();
        let mut note = |seen: Seen<'_>| match seen {
            Seen::Event(_, event) => cause = event_name(event),
            Seen::Action(action) => {
                reached.insert(format!("{cause} ▶ {}", action_name(action)));
            }
        };
        match fuzz::node::play(&script, &mut note) {
            Ok(()) if !reached.is_subset(&seen) => {
                seen.extend(reached.iter().cloned());
                tried.push((script, reached));
            }
            Ok(()) => {}
            Err(violation) => println!("script {n}: {violation}"),
        }
    }
    // Greedily, what adds most to the others first.
    let mut seeds = BTreeMap::new();
    let mut covered = BTreeSet::new();
    while seeds.len() < KEPT {
        let gain = |reached: &BTreeSet<String>| reached.difference(&covered).count();
        let best = tried
            .iter()
            .max_by_key(|(script, reached)| (gain(reached), usize::MAX - script.len()));
        let Some((script, reached)) = best.filter(|(_, reached)| gain(reached) > 0) else {
            break;
        };
        covered.extend(reached.iter().cloned());
        seeds.insert(format!("{:02}", seeds.len()), script.clone());
    }
    println!(
        "node: {} of {} causes and effects",
        covered.len(),
        seen.len()
    );
    seeds
}

/// Script number `n`: a start that most often leads into a ring, then chance.
fn script(n: u64) -> Vec<u8> {
    let mut state = n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut next = || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        chord_core::draw::draw(state, 0, n)
    };
    let len = 20 + next() % 500;
    let mut bytes: Vec<u8> = (0..len).map(|_| next().to_be_bytes()[0]).collect();
    if !n.is_multiple_of(8) {
        // No known peers; a command; to join; through two members, or none.
        let seeds = if n.is_multiple_of(3) { 0 } else { 2 };
        bytes.splice(0..7, [bytes[0] & 0x9f, bytes[1], 20, 29, seeds, 2, 5, 6, 6]);
    }
    bytes
}

fn event_name(event: &Event) -> String {
    match event {
        Event::Command { command, .. } => format!("command {}", variant(command)),
        Event::Request { request, .. } => format!("request {}", variant(request)),
        Event::Answer { result, .. } => format!("answer {}", variant(result)),
        Event::Stored { result, .. } => format!("stored {}", variant(result)),
        Event::Peer { .. } => "lost".to_owned(),
        Event::Wake => "wake".to_owned(),
    }
}

fn action_name(action: &Action) -> String {
    match action {
        Action::Finish { result, .. } => format!("finish {}", variant(result)),
        Action::Reply { response, .. } => format!("reply {}", variant(response)),
        Action::Call { request, .. } => format!("call {}", variant(request)),
        Action::Store { command, .. } => format!("store {}", variant(command)),
        Action::Notice(notice) => format!("notice {}", variant(notice)),
    }
}

/// The name of a variant, and of those that it wraps, without their fields.
fn variant(value: &impl Debug) -> String {
    let whole = format!("{value:?}");
    let end = whole
        .find(|c: char| !c.is_alphanumeric() && c != '(')
        .unwrap_or(whole.len());
    whole[..end].to_owned()
}
