//! Free ports that stay free while a node is down.
//!
//! Ports the system picks for "port 0" come from the range that it also gives to outgoing
//! connections. A node that is down for a minute and wants its old port back may find it
//! taken by a client of its neighbour. So these are tried below that range, beginning at a
//! place that depends on the process, and each is bound before it is handed out.

use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::sync::Mutex;

/// First port that may be handed out; below it live well-known services.
const LOW: u16 = 10_000;

/// End of the range; Linux gives 32,768 and above to outgoing connections.
const HIGH: u16 = 32_000;

static NEXT: Mutex<Option<u16>> = Mutex::new(None);

/// A port of 127.0.0.1 that neither TCP nor UDP uses, never handed out twice.
pub fn free() -> u16 {
    let mut next = NEXT
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    let width = u32::from(HIGH - LOW);
    let start = LOW + (std::process::id().wrapping_mul(97) % width) as u16;
    for _ in 0..width {
        let port = next.unwrap_or(start);
        *next = Some(if port + 1 < HIGH { port + 1 } else { LOW });
        let tcp = TcpListener::bind((Ipv4Addr::LOCALHOST, port));
        let udp = UdpSocket::bind((Ipv4Addr::LOCALHOST, port));
        if tcp.is_ok() && udp.is_ok() {
            return port;
        }
    }
    panic!("no port between {LOW} and {HIGH} is free");
}
