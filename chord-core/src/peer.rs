//! The other members, as small as they can be: a million nodes keep lists of them.

use core::fmt;

use crate::id::Id;

/// Where a host listens: an IPv6 or mapped IPv4 address, and a port.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Addr {
    /// Sixteen bytes of IPv6, or `::ffff:a.b.c.d`.
    pub ip: [u8; 16],
    /// UDP port.
    pub port: u16,
}

impl Addr {
    /// The mapped form of an IPv4 address.
    #[must_use]
    pub const fn v4(a: u8, b: u8, c: u8, d: u8, port: u16) -> Self {
        Self {
            ip: [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, a, b, c, d],
            port,
        }
    }

    /// The standard library's address; `None` for the all-zero address, which nobody has.
    #[must_use]
    pub fn to_socket(self) -> Option<core::net::SocketAddr> {
        if self.ip == [0; 16] {
            return None;
        }
        let ip = core::net::Ipv6Addr::from(self.ip);
        let ip = ip
            .to_ipv4_mapped()
            .map_or(core::net::IpAddr::V6(ip), core::net::IpAddr::V4);
        Some(core::net::SocketAddr::new(ip, self.port))
    }

    /// From the standard library's address.
    #[must_use]
    pub fn from_socket(socket: core::net::SocketAddr) -> Self {
        let ip = match socket.ip() {
            core::net::IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
            core::net::IpAddr::V6(v6) => v6.octets(),
        };
        Self {
            ip,
            port: socket.port(),
        }
    }
}

impl fmt::Display for Addr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.to_socket() {
            Some(socket) => socket.fmt(f),
            None => write!(f, "nowhere:{}", self.port),
        }
    }
}

impl fmt::Debug for Addr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Another ring position: who, where, and in which life.
///
/// The incarnation grows with every start of the process; two peers with one id and
/// different incarnations are different lives of it, and only the latest can be alive.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Peer {
    /// Ring position.
    pub id: Id,
    /// Where its host listens.
    pub addr: Addr,
    /// Which start of its process; 0 is "any" (a seed that has not answered yet).
    pub incarnation: u32,
}

impl Peer {
    /// Somebody at `addr` whose id and incarnation are not known yet. A driver dials the
    /// address and sends to position 0 of whoever proves to be a node of the cluster.
    #[must_use]
    pub const fn seed(addr: Addr) -> Self {
        Self {
            id: Id::ZERO,
            addr,
            incarnation: 0,
        }
    }

    /// Whether this is a mere address.
    #[must_use]
    pub fn is_seed(self) -> bool {
        self.id == Id::ZERO
    }

    /// Whether `self` is the same position as `other` in the same or a later life.
    #[must_use]
    pub fn supersedes(self, other: Self) -> bool {
        self.id == other.id && self.incarnation >= other.incarnation
    }
}

impl fmt::Debug for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.8}/{}@{}", self.id, self.incarnation, self.addr)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_fits_44_bytes() {
        assert!(size_of::<Peer>() <= 44);
    }

    #[test]
    fn addresses_go_to_sockets_and_back() {
        for text in ["127.0.0.1:7400", "[2001:db8::1]:1"] {
            let socket: core::net::SocketAddr = text.parse().expect("an address");
            let addr = Addr::from_socket(socket);
            assert_eq!(addr.to_socket(), Some(socket));
            assert_eq!(alloc::format!("{addr}"), text);
        }
        assert_eq!(Addr::default().to_socket(), None);
    }
}
