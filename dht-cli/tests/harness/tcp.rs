//! The binary client protocol, as a client of it would be written from its description.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// Most bytes of a value in a PUT: the width of `size`, less what stands before the value.
pub const VALUE_MAX: usize = 65_535 - 40;

/// One connection.
pub struct Tcp {
    stream: TcpStream,
}

impl Tcp {
    /// Connects to 127.0.0.1:`port`; no single read or write may take longer than `timeout`.
    ///
    /// # Errors
    /// No connection.
    pub fn connect(port: u16, timeout: Duration) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&([127, 0, 0, 1], port).into(), timeout)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(timeout))?;
        stream.set_write_timeout(Some(timeout))?;
        Ok(Self { stream })
    }

    /// Sends a PUT, which has no answer.
    ///
    /// # Errors
    /// The connection is gone.
    pub fn put(&mut self, key: &[u8; 32], ttl: u16, copies: u8, value: &[u8]) -> io::Result<()> {
        let size = u16::try_from(40 + value.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
        let mut message = Vec::with_capacity(usize::from(size));
        message.extend(size.to_be_bytes());
        message.extend(650_u16.to_be_bytes());
        message.extend(ttl.to_be_bytes());
        message.extend([copies, 0]);
        message.extend(key);
        message.extend(value);
        self.stream.write_all(&message)
    }

    /// Sends a GET and waits for the answer; nothing on FAILURE.
    ///
    /// # Errors
    /// The connection is gone, no answer came in time, or it is none.
    pub fn get(&mut self, key: &[u8; 32]) -> io::Result<Option<Vec<u8>>> {
        let mut message = vec![0, 36, 0x02, 0x8b];
        message.extend(key);
        self.stream.write_all(&message)?;
        let mut head = [0; 36];
        self.stream.read_exact(&mut head)?;
        let size = usize::from(u16::from_be_bytes([head[0], head[1]]));
        let kind = u16::from_be_bytes([head[2], head[3]]);
        if &head[4..] != key || size < 36 {
            return Err(io::Error::other("an answer to another question"));
        }
        let mut value = vec![0; size - 36];
        self.stream.read_exact(&mut value)?;
        match kind {
            652 => Ok(Some(value)),
            653 if value.is_empty() => Ok(None),
            _ => Err(io::Error::other(format!("an answer of type {kind}"))),
        }
    }
}
