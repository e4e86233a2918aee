//! Plays one input of the target `node` and prints what happens, for whoever looks into a
//! finding: `cargo run -p fuzz --example replay-input FILE`.

use std::error::Error;

use fuzz::node::{Seen, play};

fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args().nth(1).ok_or("which file?")?;
    let script = std::fs::read(path)?;
    let verdict = play(&script, &mut |seen| match seen {
        Seen::Event(now, event) => println!("{:?} {event:?}", now.mono),
        Seen::Action(action) => println!("    {action:?}"),
    });
    Ok(verdict?)
}
