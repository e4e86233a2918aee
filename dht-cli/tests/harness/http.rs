//! A small blocking HTTP client, written apart from the product's own on purpose.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// One connection, opened again when the server closed it.
pub struct Http {
    port: u16,
    timeout: Duration,
    stream: Option<BufReader<TcpStream>>,
}

impl Http {
    /// A client of 127.0.0.1:`port`; no single read or write may take longer than `timeout`.
    pub fn new(port: u16, timeout: Duration) -> Self {
        Self {
            port,
            timeout,
            stream: None,
        }
    }

    /// Status and body.
    ///
    /// # Errors
    /// No connection, or no complete answer in time.
    pub fn ask(&mut self, method: &str, path: &str, body: &[u8]) -> io::Result<(u16, Vec<u8>)> {
        if self.stream.is_some()
            && let Ok(answer) = self.exchange(method, path, body)
        {
            return Ok(answer);
        }
        // The first try, or the kept connection was closed meanwhile: a fresh one decides.
        self.connect()?;
        self.exchange(method, path, body)
    }

    /// Status and body; the request is sent at most once. Of a kept connection nobody knows
    /// whether what failed on it was carried out.
    ///
    /// # Errors
    /// As [`Self::ask`]; "connection refused" only if nothing was sent.
    pub fn once(&mut self, method: &str, path: &str, body: &[u8]) -> io::Result<(u16, Vec<u8>)> {
        if self.stream.is_none() {
            self.connect()?;
        }
        self.exchange(method, path, body)
    }

    fn connect(&mut self) -> io::Result<()> {
        let address = ([127, 0, 0, 1], self.port).into();
        let stream = TcpStream::connect_timeout(&address, self.timeout)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(self.timeout))?;
        stream.set_write_timeout(Some(self.timeout))?;
        self.stream = Some(BufReader::new(stream));
        Ok(())
    }

    fn exchange(&mut self, method: &str, path: &str, body: &[u8]) -> io::Result<(u16, Vec<u8>)> {
        let result = self.converse(method, path, body);
        if result.is_err() {
            self.stream = None;
        }
        result
    }

    fn converse(&mut self, method: &str, path: &str, body: &[u8]) -> io::Result<(u16, Vec<u8>)> {
        let stream = self.stream.as_mut().ok_or(io::ErrorKind::NotConnected)?;
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nContent-Length: {}\r\n\r\n",
            self.port,
            body.len()
        );
        stream
            .get_mut()
            .write_all(&[head.as_bytes(), body].concat())?;
        let status = line(stream)?;
        let status = status.split(' ').nth(1).and_then(|code| code.parse().ok());
        let status: u16 = status.ok_or(io::ErrorKind::InvalidData)?;
        let mut length = 0_usize;
        let mut close = false;
        loop {
            let header = line(stream)?.to_ascii_lowercase();
            if header.is_empty() {
                break;
            }
            if let Some(value) = header.strip_prefix("content-length:") {
                length = value
                    .trim()
                    .parse()
                    .map_err(|_| io::ErrorKind::InvalidData)?;
            }
            assert!(
                !header.starts_with("transfer-encoding:"),
                "answers have a length"
            );
            close |= header == "connection: close";
        }
        let mut answer = vec![0; length];
        stream.read_exact(&mut answer)?;
        if close {
            self.stream = None;
        }
        Ok((status, answer))
    }

    /// Stores a value.
    ///
    /// # Errors
    /// As [`Self::ask`], and any status but 204.
    pub fn put(&mut self, key: &[u8], query: &str, value: &[u8]) -> io::Result<()> {
        let path = format!("/v1/kv/{}?encoding=hex{query}", super::hex(key));
        match self.ask("PUT", &path, value)? {
            (204, _) => Ok(()),
            (status, body) => Err(refused(status, &body)),
        }
    }

    /// Reads a value; nothing on 404.
    ///
    /// # Errors
    /// As [`Self::ask`], and any status but 200 and 404.
    pub fn get(&mut self, key: &[u8]) -> io::Result<Option<Vec<u8>>> {
        let path = format!("/v1/kv/{}?encoding=hex", super::hex(key));
        match self.ask("GET", &path, b"")? {
            (200, body) => Ok(Some(body)),
            (404, _) => Ok(None),
            (status, body) => Err(refused(status, &body)),
        }
    }
}

fn refused(status: u16, body: &[u8]) -> io::Error {
    io::Error::other(format!("{status} {}", String::from_utf8_lossy(body)))
}

fn line(stream: &mut impl BufRead) -> io::Result<String> {
    let mut text = String::new();
    if stream.read_line(&mut text)? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(text.trim_end().to_owned())
}
